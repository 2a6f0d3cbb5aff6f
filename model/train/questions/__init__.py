"""Questions about documents for training: does a passage answer a question, or not?

Four kinds: invented facts that are hidden in real text (`facts`, `hidden`), questions derived from
real sentences (`derived`), headings (`headings`), and the questions that people asked about
meetings (`meetings`). Some are about what their document does not say. The passages are cut as the
application cuts them (`cuts`). What is asked with is data, in `words`. Everything depends on the
seed and a number only. Called by the curriculum. Gives None where no document yields a question of
the drawn kind.
"""

from model.train.questions.cuts import RUN, STRIDE
from model.train.questions.numbered import Questions
from model.train.questions.passages import MOST_RIGHT, Asked

__all__ = ["MOST_RIGHT", "RUN", "STRIDE", "Asked", "Questions"]
