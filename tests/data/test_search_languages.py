# ruff: noqa: RUF001 - letters of many scripts, some of which look alike
"""Texts of many scripts are found by the words that people type, with an index and without."""

from __future__ import annotations

import pytest

from pylon.identity import ADMIN, Identity
from tests.data.searching import a_plain, column, manifest_of, searching
from tests.schema.samples import an_entity

ROWS = {
    "ja": "今日はいい天気です",
    "zh": "还有可能是定期检修",
    "mixed": "Worker/Server 队列端口错配导致任务 2024年5月",
    "ko": "한국어검색엔진",
    "th": "ภาษาไทยไม่มีช่องว่าง",
    "km": "ភាសាខ្មែរមិនមានដកឃ្លា",
    "ru": "Большая КИРИЛЛИЦА, ёлка",
    "el": "ΟΔΥΣΣΕΑΣ ταξίδι",
    "fr": "Crème Brûlée à l'œuf",
    "nfd": "Cafe\u0301 noir",
    "tr": "İstanbul ılık",
    "de": "Straße MASSE Öl",
    "he": "שָׁלוֹם עולם",
    "ar": "مُحَمَّد كتاب",
    "fa": "می\u200cخواهم",
    "vi": "Việt Nam Đường",
    "hi": "हिन्दी भाषा",
    "pl": "Łódź żółw",
    "emoji": "ship 🚀 launch",
    "full": "ＡＢＣ ｶﾀｶﾅ",
    "nul": "before\0behind",
}

FOUND = [
    ("天気", ["ja"]),
    ("気", ["ja"]),
    ("天気です", ["ja"]),
    ("今日 天気", ["ja"]),
    ("天今", []),
    ('"いい天気"', ["ja"]),
    ("可能", ["zh"]),
    ("端口", ["mixed"]),
    ("worker 端口错", ["mixed"]),
    ("2024年", ["mixed"]),
    ("5月", ["mixed"]),
    ("검색", ["ko"]),
    ("ไทย", ["th"]),
    ("ខ្មែរ", ["km"]),
    ("кириллица", ["ru"]),
    ("ЕЛКА", ["ru"]),
    ("οδυσσεας", ["el"]),
    ("ΤΑΞΙΔΙ", ["el"]),
    ("creme brulee", ["fr"]),
    ("OEUF", ["fr"]),
    ("café", ["nfd"]),
    ("CAFE", ["nfd"]),
    ("istanbul", ["tr"]),
    ("ILIK", ["tr"]),
    ("strasse", ["de"]),
    ("STRASSE OL", ["de"]),
    ("שלום", ["he"]),
    ("محمد", ["ar"]),
    ("میخواهم", ["fa"]),
    ("می\u200cخواهم", ["fa"]),
    ("duong viet", ["vi"]),
    ("हिन्दी", ["hi"]),
    ("हि", ["hi"]),
    ("lodz ZOLW", ["pl"]),
    ("🚀", ["emoji"]),
    ("🚀 launch", ["emoji"]),
    ("abc カタ", ["full"]),
    ("behind", ["nul"]),
    ("aft", []),
]

INDEXED = an_entity(
    "Product", column("title"), column("cost", private=True), search={"text": ["title"]}, crdt=False
)


async def test_both_find_the_same() -> None:
    async with (
        searching(manifest_of(INDEXED)) as indexed,
        searching(manifest_of(a_plain("Product"))) as plain,
    ):
        for name, text in ROWS.items():
            for world in (indexed, plain):
                await world.add(title=text, cost=name)
        for typed, expected in FOUND:
            found = (await indexed.search({"query": typed, "typos": False}, by=ADMIN)).rows
            assert [row["cost"] for row in found] == expected, typed
            for world in (indexed, plain):
                rows = await world.queries.find(ADMIN, "Product", {"$search": typed})
                assert [row["cost"] for row in rows] == expected, typed


@pytest.mark.parametrize(
    ("text", "typed", "excerpt"),
    [
        ("今日はいい天気です", "天気", "今日はいい<mark>天気</mark>です"),
        ("今日はいい天気です", "いい天気", "今日は<mark>いい天気</mark>です"),
        ("天の川と天", "天", "<mark>天</mark>の川と<mark>天</mark>"),
        ("ภาษาไทยไม่มี", "ไทย", "ภาษา<mark>ไทย</mark>ไม่มี"),
        ("das Öl der Straße", "ol STRASSE", "das <mark>Öl</mark> der <mark>Straße</mark>"),
        ("שָׁלוֹם עולם", "שלום", "<mark>שָׁלוֹם</mark> עולם"),
        ("Cafe\u0301 noir", "café", "<mark>Cafe\u0301</mark> noir"),
        ("हिन्दी भाषा", "हिन्दी", "<mark>हिन्दी</mark> भाषा"),
        ("x\0red shoe", "red", "x\0<mark>red</mark> shoe"),
        ("ｶﾞｶﾞ", "ガ", "<mark>ｶﾞｶﾞ</mark>"),
    ],
)
async def test_excerpts_follow_the_same_folding(text: str, typed: str, excerpt: str) -> None:
    async with searching(manifest_of(INDEXED)) as world:
        await world.add(title=text)
        found = await world.search({"query": typed, "highlight": True}, by=ADMIN)
        assert [row["_highlight"] for row in found.rows] == [{"title": excerpt}]


async def test_typos_are_forgiven_in_folded_words() -> None:
    async with searching(manifest_of(INDEXED)) as world:
        await world.add(title="Łódka i żółwie")
        assert (await world.search({"query": "zolwei "}, by=ADMIN)).total == 1
        assert (await world.search({"query": "ŁÓDXA "}, by=ADMIN)).total == 1


async def test_the_better_row_is_first_for_who_sees_all_and_who_does_not() -> None:
    manifest = manifest_of(INDEXED, policies={"Product": "auth.userId == data.title"})
    async with searching(manifest_of(INDEXED)) as world:
        await world.add(title="天気と" + "長い文" * 50)
        best = await world.add(title="天気天気")
        found = await world.search({"query": "天気"}, by=ADMIN)
        assert found.rows[0]["id"] == best
    async with searching(manifest) as world:
        await world.add(title="天気")
        found = await world.search({"query": "天"}, by=Identity(user_id="天気"))
        assert found.total == 1


@pytest.mark.parametrize(
    "query",
    [
        " ".join(f"word{number}" for number in range(32)),
        ".".join(f"w{number}" for number in range(200)),
        "天気予報" * 250,
        "NEAR(" + " ".join(f"w{number}" for number in range(32)) + ", 40)",
    ],
)
async def test_many_words_are_no_failure_for_who_does_not_see_all(query: str) -> None:
    manifest = manifest_of(INDEXED, policies={"Product": "data.title != 'hidden'"})
    async with searching(manifest) as world:
        await world.add(title=query)
        for by in (ADMIN, Identity(user_id="ann")):
            assert (await world.search({"query": query}, by=by)).total == 1
            assert len(await world.queries.find(by, "Product", {"$search": query})) == 1


async def test_a_field_called_as_the_excerpts_are_keeps_its_value() -> None:
    entity = an_entity(
        "Product",
        column("title"),
        column("_highlight"),
        search={"text": ["title"]},
        crdt=False,
    )
    async with searching(manifest_of(entity)) as world:
        await world.add(title="red", _highlight="mine")
        (row,) = (await world.search({"query": "red", "highlight": True}, by=ADMIN)).rows
        assert row["_highlight"] == "mine"
        assert row["_highlight_"] == {"title": "<mark>red</mark>"}
