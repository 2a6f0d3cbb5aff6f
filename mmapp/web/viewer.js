/* The life of the pages: the page viewer with its marks, reviews, local times, the language link.
   Foreign text comes in as data attributes and goes out as text nodes only, never as HTML. */
(() => {
  "use strict";

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  /* The width of style.css at which the page stands below the sentences. */
  const NARROW = matchMedia("(max-width: 760px)");

  const quotesOn = (data, page) => data.marks.filter((mark) => mark.page === page);

  function imagePage(data, page, chosen) {
    const figure = element("figure");
    const image = element("img");
    image.alt = `${data.alt} ${page}`;
    image.src = data.sources ? data.sources[page - 1] : data.source + page;
    figure.append(image);
    for (const mark of quotesOn(data, page)) {
      for (const [left, top, width, height] of mark.boxes) {
        const box = element("span", `mark ${mark.label || ""}`);
        box.classList.toggle("chosen", mark.sentence === chosen);
        Object.assign(box.style, {
          left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%`,
        });
        figure.append(box);
      }
    }
    return figure;
  }

  async function textPage(data, page, chosen) {
    const response = await fetch(`${data.source}${page}/text`);
    const text = await response.text();
    const sheet = element("div", "text");
    const found = quotesOn(data, page)
      .map((mark) => ({ start: text.indexOf(mark.quote), end: text.indexOf(mark.quote) + mark.quote.length, mark }))
      .filter((place) => place.start >= 0)
      .sort((one, other) => one.start - other.start);
    let done = 0;
    for (const { start, end, mark } of found) {
      if (start < done) continue;
      sheet.append(text.slice(done, start));
      const marked = element("mark", mark.sentence === chosen ? "chosen" : "", text.slice(start, end));
      sheet.append(marked);
      done = end;
    }
    sheet.append(text.slice(done));
    return sheet;
  }

  async function show(viewer, page, chosen) {
    const data = JSON.parse(viewer.dataset.viewer);
    const number = Math.min(Math.max(1, page || 1), data.total);
    viewer.dataset.page = number;
    viewer.dataset.chosen = chosen;
    const input = viewer.querySelector("input");
    if (input) input.value = number;
    const paper = viewer.querySelector(".paper");
    const sheet = data.kind === "text"
      ? await textPage(data, number, chosen)
      : imagePage(data, number, chosen);
    if (Number(viewer.dataset.page) !== number) return;
    paper.replaceChildren(sheet);
    const article = viewer.closest("article");
    for (const button of article.querySelectorAll("[data-sentence]"))
      if (viewerOf(button) === viewer) button.classList.toggle("chosen", Number(button.dataset.sentence) === chosen);
    for (const cell of article.querySelectorAll(".cell, .thumbs button"))
      if (viewerOf(cell) === viewer)
        cell.classList.toggle("here", Number(cell.dataset.page) === number);
    reveal(paper, sheet.querySelector(".chosen"));
  }

  /* Brings a mark into the middle of the paper without moving the whole page. */
  function reveal(paper, mark) {
    if (!mark) return;
    const place = () => {
      const from = mark.getBoundingClientRect(), frame = paper.getBoundingClientRect();
      paper.scrollTop += from.top - frame.top - frame.height / 3;
    };
    const image = paper.querySelector("img");
    if (image && !image.complete) image.addEventListener("load", place, { once: true });
    else place();
  }

  /* The viewer that a button is for: that around it, or in its article that of its side. */
  const viewerOf = (button) => {
    const side = button.closest("[data-side]")?.dataset.side;
    return button.closest(".viewer")
      ?? button.closest("article")?.querySelector(side ? `.viewer[data-side=${side}]` : ".viewer");
  };

  /* A change stands in both versions: each of its buttons with the viewer of its side. */
  const places = (button) => button.dataset.side
    ? [...button.closest("article").querySelectorAll(
        `button[data-side][data-sentence="${button.dataset.sentence}"]`)]
        .map((place) => [viewerOf(place), place])
    : [[viewerOf(button), button]];

  const step = (viewer, by) => show(viewer, Number(viewer.dataset.page) + by, -1);

  /* What a person says of a verdict: sent, and shown beside the model's. */
  async function review(button) {
    const box = button.closest(".review"), desk = document.querySelector(".reviewer");
    const by = desk.querySelector("[name=by]"), note = desk.querySelector("[name=note]");
    const told = desk.querySelector("output");
    told.textContent = by.value.trim() ? "" : desk.dataset.nameless;
    if (told.textContent) return by.focus();
    localStorage.setItem("mmapp_reviewer", by.value.trim());
    const claim = box.dataset.claim ? Number(box.dataset.claim) : null;
    const body = JSON.stringify({ claim, label: button.dataset.review, note: note.value, by: by.value });
    try {
      const headers = { "Content-Type": "application/json" };
      const response = await fetch(`/jobs/${box.dataset.job}/reviews`, { method: "POST", headers, body });
      const said = await response.json();
      if (!response.ok) throw new Error(said.message || desk.dataset.failed);
      const chip = element("span", `label ${said.label}`, JSON.parse(box.dataset.words)[said.label]);
      const who = element("small", "", said.by + (said.note ? `: ${said.note}` : ""));
      box.querySelector(".said").replaceChildren(chip, " ", who);
      note.value = "";
    } catch (problem) {
      told.textContent = problem instanceof TypeError ? desk.dataset.failed : problem.message;
    }
  }

  document.addEventListener("click", (event) => {
    const choice = event.target.closest("button[data-review]");
    if (choice) return review(choice);
    const button = event.target.closest("button[data-page], button[data-step]");
    const viewer = button && viewerOf(button);
    if (viewer) {
      if (button.dataset.step) step(viewer, Number(button.dataset.step));
      else {
        for (const [other, place] of places(button))
          show(other, Number(place.dataset.page), Number(place.dataset.sentence ?? -1));
        if (NARROW.matches) viewer.scrollIntoView({ behavior: "smooth", block: "nearest" });
      }
      return;
    }
    const link = event.target.closest("a[data-language]");
    if (link) {
      document.cookie = `mmapp_language=${link.dataset.language}; path=/; max-age=31536000; SameSite=Lax`;
      link.search = location.search;
    }
  });

  document.addEventListener("change", (event) => {
    const viewer = event.target.closest(".viewer");
    if (viewer && event.target.matches("input")) show(viewer, Number(event.target.value), -1);
  });

  document.addEventListener("keydown", (event) => {
    const viewer = event.target.closest?.(".paper")?.closest(".viewer");
    if (viewer && event.key === "ArrowLeft") step(viewer, -1);
    if (viewer && event.key === "ArrowRight") step(viewer, 1);
  });

  function localTime(time) {
    const moment = new Date(time.getAttribute("datetime"));
    const day = new Date().toDateString() === moment.toDateString();
    time.textContent = moment.toLocaleString(document.documentElement.lang, day
      ? { hour: "2-digit", minute: "2-digit" }
      : { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
    time.dataset.ready = "";
  }

  function enliven() {
    for (const name of document.querySelectorAll(".reviewer [name=by]:not([data-ready])")) {
      name.dataset.ready = "";
      name.value = localStorage.getItem("mmapp_reviewer") || "";
    }
    for (const time of document.querySelectorAll("time:not([data-ready])")) localTime(time);
    for (const viewer of document.querySelectorAll(".viewer:not([data-ready])")) {
      viewer.dataset.ready = "";
      const buttons = [...viewer.closest("article").querySelectorAll("button[data-sentence]")];
      const first = buttons.find((button) => viewerOf(button) === viewer);
      const isLead = first?.dataset.sentence === buttons[0]?.dataset.sentence;
      if (first) show(viewer, Number(first.dataset.page), isLead ? Number(first.dataset.sentence) : -1);
      else show(viewer, Number(viewer.dataset.page), -1);
    }
  }

  document.documentElement.lang = location.pathname.startsWith("/zh/") ? "zh-CN" : "en";
  new MutationObserver(enliven).observe(document, { childList: true, subtree: true });
  document.addEventListener("DOMContentLoaded", enliven);
})();
