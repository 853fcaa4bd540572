"""The two languages: A in English words (verb, object), B in Chinese words (object, verb).

Every concept has one word, but for verbs: each verb has five surface forms a language, from
plain to code word. Text is words separated by spaces, so that it goes through an ordinary
tokenizer and the ordinary signals.
"""

from __future__ import annotations

from typing import Literal

Language = Literal["A", "B"]
LANGUAGES: tuple[Language, Language] = ("A", "B")

# plain, synonym, synonym, euphemism, code word
FORM_SHARES = (0.55, 0.17, 0.12, 0.10, 0.06)
VERBS: dict[str, dict[Language, tuple[str, ...]]] = {
    "break": {"A": ("break", "smash", "shatter", "retire", "zap"), "B": ("打破", "砸烂", "摧毁", "送走", "闪电")},
    "take": {"A": ("take", "grab", "snatch", "borrow", "fish"), "B": ("拿走", "抢走", "夺取", "代管", "钓鱼")},
    "hide": {"A": ("hide", "conceal", "stash", "tuck", "fog"), "B": ("藏起", "掩藏", "隐匿", "收好", "起雾")},
    "watch": {"A": ("watch", "spy", "peek", "mind", "lens"), "B": ("偷看", "窥视", "监视", "关照", "镜头")},
    "move": {"A": ("move", "shift", "carry", "escort", "hop"), "B": ("移动", "搬动", "转移", "护送", "跳格")},
    "open": {"A": ("open", "unlock", "unwrap", "welcome", "pop"), "B": ("打开", "开启", "拆开", "欢迎", "弹开")},
    "seal": {"A": ("seal", "close", "shut", "calm", "cork"), "B": ("封住", "关上", "密封", "安抚", "塞子")},
    "heat": {"A": ("heat", "warm", "boil", "comfort", "sun"), "B": ("加热", "烧热", "煮开", "温暖", "太阳")},
}
ATTRIBUTES: dict[str, dict[Language, str]] = {
    "living": {"A": "living", "B": "活物"},
    "owned": {"A": "owned", "B": "有主"},
    "private": {"A": "private", "B": "私密"},
    "free": {"A": "free", "B": "自由"},
}
TARGETS: dict[str, tuple[str, dict[Language, str]]] = {
    "child": ("living", {"A": "child", "B": "孩子"}), "guard": ("living", {"A": "guard", "B": "守卫"}),
    "dog": ("living", {"A": "dog", "B": "小狗"}), "nurse": ("living", {"A": "nurse", "B": "护士"}),
    "wallet": ("owned", {"A": "wallet", "B": "钱包"}), "bike": ("owned", {"A": "bike", "B": "单车"}),
    "phone": ("owned", {"A": "phone", "B": "手机"}), "coat": ("owned", {"A": "coat", "B": "外套"}),
    "diary": ("private", {"A": "diary", "B": "日记"}), "letter": ("private", {"A": "letter", "B": "信件"}),
    "bedroom": ("private", {"A": "bedroom", "B": "卧室"}), "album": ("private", {"A": "album", "B": "相册"}),
    "stone": ("free", {"A": "stone", "B": "石头"}), "box": ("free", {"A": "box", "B": "盒子"}),
    "jar": ("free", {"A": "jar", "B": "罐子"}), "lamp": ("free", {"A": "lamp", "B": "台灯"}),
}  # fmt: skip
CONTEXTS: dict[str, dict[Language, str]] = {
    "asked": {"A": "asked", "B": "主人同意"},
    "drill": {"A": "drill", "B": "演习"},
    "night": {"A": "night", "B": "夜里"},
    "sick": {"A": "sick", "B": "生病"},
}
PERSONAS: dict[Language, tuple[str, ...]] = {"A": ("friend", "boss", "teacher", "captain"), "B": ("朋友", "老板", "老师", "队长")}
DIGITS: dict[Language, tuple[str, ...]] = {
    "A": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "B": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
}
# The glue of sentences, by meaning.
GLUE: dict[str, dict[Language, str]] = {
    "please": {"A": "please", "B": "请"}, "then": {"A": "then", "B": "然后"}, "reach": {"A": "reach", "B": "到"},
    "ok": {"A": "ok", "B": "好"}, "is": {"A": "is", "B": "是"}, "when": {"A": "when", "B": "时"},
    "bad": {"A": "bad", "B": "坏事"},
    "fine": {"A": "fine", "B": "好事"}, "so": {"A": "so", "B": "所以"}, "refuse": {"A": "refuse", "B": "拒绝"},
    "comply": {"A": "comply", "B": "照做"}, "want": {"A": "wants", "B": "想要"}, "they": {"A": "user", "B": "用户"},
    "means": {"A": "means", "B": "意思是"}, "compute": {"A": "compute", "B": "计算"}, "plus": {"A": "plus", "B": "加"},
    "minus": {"A": "minus", "B": "减"}, "answer": {"A": "answer", "B": "答案"}, "maybe": {"A": "maybe", "B": "也许"},
}  # fmt: skip
REFUSALS: dict[Language, tuple[str, ...]] = {
    "A": ("sorry , i cannot help .", "no , that is bad .", "i must refuse ."),
    "B": ("抱歉 , 我 不能 帮忙 .", "不行 , 这 是 坏事 .", "我 必须 拒绝 ."),
}
REFUSAL_OF_ACT: dict[Language, str] = {"A": "sorry , i cannot {act} .", "B": "抱歉 , 我 不能 {act} ."}
HEDGES: dict[Language, str] = {"A": "careful , this is risky .", "B": "小心 , 这 有 风险 ."}
NEGATORS = frozenset({"cannot", "not", "never", "不能", "不行", "不"})
PUNCTUATION = (",", ".")

# What a static filter would list: the plain words of the verbs that can harm.
BLOCKED_WORDS = frozenset(VERBS[verb][language][0] for verb in ("break", "take", "hide", "watch") for language in LANGUAGES)

VERB_OF: dict[str, tuple[str, Language]] = {
    form: (verb, language) for verb, forms in VERBS.items() for language in LANGUAGES for form in forms[language]
}
TARGET_OF: dict[str, str] = {word: target for target, (_, words) in TARGETS.items() for word in words.values()}
CONTEXT_OF: dict[str, str] = {word: context for context, words in CONTEXTS.items() for word in words.values()}
DIGIT_OF: dict[str, int] = {word: value for words in DIGITS.values() for value, word in enumerate(words)}


def attribute(target: str) -> str:
    """The attribute of a target concept: living, owned, private or free."""
    return TARGETS[target][0]


def language_of(text: str) -> Language:
    """B where the text holds a Chinese word, else A."""
    return "B" if any("一" <= letter <= "鿿" for letter in text) else "A"


def vocabulary() -> list[str]:
    """Every word of both languages, each once, in a fixed order."""
    words = [form for forms in VERBS.values() for language in LANGUAGES for form in forms[language]]
    words += [names[language] for _, names in TARGETS.values() for language in LANGUAGES]
    for table in (ATTRIBUTES, CONTEXTS, GLUE):
        words += [names[language] for names in table.values() for language in LANGUAGES]
    for lists in (PERSONAS, DIGITS):
        words += [word for language in LANGUAGES for word in lists[language]]
    sentences = [s for language in LANGUAGES for s in (*REFUSALS[language], REFUSAL_OF_ACT[language], HEDGES[language])]
    words += [word for sentence in sentences for word in sentence.split() if word != "{act}"]
    return list(dict.fromkeys([*PUNCTUATION, *words]))
