"""What is said about drawn products, in English and Chinese: attributes, wordings, prints."""

from __future__ import annotations

from model.train.listings import UNSEEN

PATTERNS = {
    "plain": ("plain colour", "纯色"),
    "striped": ("stripes", "条纹"),
    "dotted": ("dots", "圆点"),
    "checked": ("checks", "格子"),
}
NUMBERS = {
    1: ("one", "一"),
    2: ("two", "两"),
    3: ("three", "三"),
    4: ("four", "四"),
    5: ("five", "五"),
}
LETTER_SIZES = ("S", "M", "L", "XL", "XXL")
VOLUMES = ("250 ml", "500 ml", "1 L", "2 L")
MASSES = ("200 g", "500 g", "1 kg")
SIZES = (*LETTER_SIZES, *VOLUMES, *MASSES)
_LATIN = """
    NORDIC LUMO VERA KILO ZENO ALBA MIRA PIKO TERRA SOLAR AURA BOREAL KORA VIVO NOVA LIMA OSLO FJORD
    ARBOR DELTA EKO FLORA GAIA HELIO INDIGO JUNO KARMA LOTUS MONTE NIMBUS ORBIT POLAR QUANTO RIVA
    SENSO TANGO URBAN VELA WAVE XENON YUKON ZEBRA ATLAS BRISA CASA DOMO ETNA FARO GLORIA HAVEN
    Milk|Green_Tea|Coffee|Juice|Water|Honey|Sugar|Salt|Rice|Bread|Butter|Cocoa|Oats|Lemon|Apple
    Mint|Soap|Cream|Shampoo|Candy|Pasta|Olive|Pepper|Yoghurt|Berry|Cherry|Mango|Vanilla|Ginger
    Organic|Fresh|Pure|Nature|Classic|Premium|Sport|Baby|Home|Happy|Summer|Winter|Ocean|Forest
    Sun|Moon|Star|Sky|Cloud|River|Stone|Wood|Paper|Music|Love|Peace|Smile|Dream|Magic|Garden
    Paris|Tokyo|London|Berlin|Rome|Madrid|Vitamin|Protein|Energy|Cola|Soda|Beer|Wine|Cake|Pizza
    """
LATIN = tuple(_LATIN.replace("|", " ").split())
_CHINESE = """
    牛奶 绿茶 有机 咖啡 果汁 蜂蜜 红茶 酸奶 大米 面包 白糖 海盐 豆浆 可可 燕麦 柠檬 苹果 薄荷 香皂
    洗发水 糖果 面条 橄榄油 酱油 饼干 草莓 芒果 香草 生姜 新鲜 天然 经典 运动 宝贝 快乐 夏天 冬天
    海洋 森林 太阳 月亮 星空 白云 小河 花园 音乐 平安 微笑 梦想 北京 上海 东方 长城 龙井 普洱 福
    喜 茶 水 米 春 家 好 乐 矿泉水 巧克力 纯净水 乌龙茶 维生素 蛋白粉 花生油 山茶花 小熊 大象
    农夫山泉 冰糖雪梨 四季平安 东方美人
"""
CHINESE = tuple(_CHINESE.split())

# What can be said about each property. {value} and its forms are put in by `_say`.
ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {"en": ("title", "product", "type", "description"), "zh": ("title", "产品", "类别")},
    "colour": {"en": ("color", "colour", "description"), "zh": ("颜色", "color", "描述")},
    "pattern": {"en": ("pattern", "design", "description"), "zh": ("图案", "款式", "描述")},
    "count": {"en": ("count", "quantity", "description"), "zh": ("数量", "件数", "描述")},
    "text": {"en": ("text", "description", "brand", "print"), "zh": ("文字", "描述", "品牌")},
    "size": {"en": ("size", "description"), "zh": ("尺寸", "规格", "描述")},
    "written": {"en": ("text", "description"), "zh": ("文字", "描述")},
}
WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "en": ("{value}", "{Value}", "{single}", "The photo shows {single}.", "This is {single}."),
        "zh": ("{value}", "这是{value}。", "图中是{value}。"),
    },
    "colour": {
        "en": ("{value}", "{Value}", "{value} {name}", "{The} {is} {value}.", "in {value}"),
        "zh": ("{value}", "{name}是{value}的。", "{value}{name}", "{value}款"),
    },
    "pattern": {
        "en": ("{value}", "{Value}", "{The} {is} {value}.", "with {noun}", "{value} {name}"),
        "zh": ("{value}", "{name}是{value}的。", "{value}{name}", "{value}款"),
    },
    "count": {
        "en": (
            "{n} {pieces}", "pack of {n}", "{number} {items}", "set of {number}", "{n} {names}",
            "Contains {number} {names}.", "{n}",
        ),
        "zh": (
            "{n} 件", "{number}{measure}装", "共 {n} {measure}", "{number}{measure}{name}", "{n}",
        ),
    },
    "text": {
        "en": (
            "The package says {value}.", "says “{value}”", "{value}", "“{value}” on the front",
            'It reads "{value}".', "printed with {value}",
        ),
        "zh": (
            "包装上写着“{value}”。", "印有“{value}”", "{value}", "正面写着{value}",
            "有“{value}”字样",
        ),
    },
    "size": {
        "en": ("{value}", "Size {value}", "{value} is printed on it."),
        "zh": ("{value}", "规格 {value}", "印有 {value}"),
    },
    "written": {
        "en": ("There is text on the picture.", "with printed words"),
        "zh": ("图上有文字。", "印有文字"),
    },
}  # fmt: skip
DENIALS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "en": ("not {single}", "This is not {single}."),
        "zh": ("不是{value}", "图中不是{value}。"),
    },
    "colour": {
        "en": ("not {value}", "{The} {is} not {value}."),
        "zh": ("不是{value}", "{name}不是{value}的。"),
    },
    "pattern": {
        "en": ("not {value}", "no {noun}", "without {noun}"),
        "zh": ("不是{value}", "没有{value}"),
    },
    "count": {
        "en": ("not {n} {pieces}", "not {number} {names}"),
        "zh": ("不是 {n} 件", "不是{number}{measure}"),
    },
    "text": {
        "en": ("does not say {value}", "The package does not say “{value}”."),
        "zh": ("包装上没有写“{value}”。", "没有“{value}”字样"),
    },
    "size": {
        "en": ("not {value}", "{value} is not printed on it."),
        "zh": ("不是 {value}", "没有印 {value}"),
    },
    "written": {
        "en": ("There is no text on the picture.", "without words"),
        "zh": ("图上没有文字。", "没有文字"),
    },
}
UNKNOWABLE = (
    *UNSEEN,
    ("en", "material", "Made of recycled material."),
    ("en", "brand owner", "Family business since 19{n:02d}."),
    ("en", "description", "Tested by dermatologists."),
    ("en", "shelf life", "{n} weeks"),
    ("en", "description", "Smells of lavender."),
    ("zh", "材质", "可回收材料"),
    ("zh", "保质期", "{n} 天"),
    ("zh", "描述", "经过皮肤科测试。"),
)
MEASURED = {  # attributes that a printed size would answer, and what else they may say
    "size": LETTER_SIZES, "尺码": LETTER_SIZES, "weight": MASSES, "重量": MASSES,
}  # fmt: skip
