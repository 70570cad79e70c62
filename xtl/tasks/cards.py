"""Tasks that ask for one fact about a country, by cards: the part that they share.

An instance is a country. Its prompt is a card (see `xtl.tasks.templates`) in each language; its options are the right
answer and others of the same task, written in the *target* language, since they continue the target prompt. The pairs
are parallel because nothing is drawn by language: the order of the instances depends on (task, seed), the options
and their order on (task, seed, country), and only then are names put in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from xtl.errors import Whole, check_whole, known_keywords
from xtl.pairs import ParallelPair
from xtl.tasks.base import check_seed, normalise_language
from xtl.tasks.names import cldr_version, country_name
from xtl.tasks.templates import LANGUAGES, N_TEMPLATES, card_option, card_prompt


@dataclass(frozen=True)
class CountryCards:
    """A task about countries (see `xtl.tasks.base.Task`).

    Args:
        name: name of the task.
        description: what is asked, in one line.
        field: the field of the card that is left open, one of `xtl.tasks.templates.FIELDS`.
        answers: the key of the right answer (a time zone, a language code) of each country.
        answer_name: gives the name of an answer, from its key and a language.
        languages: codes of the languages that it can be asked in.
        score: how an answer is scored.
        kind: what the task tests.
        direction: any language to any other.
        text_scores: names of scores of a generated text; none, since the cards are made for likelihood.
    """

    name: str
    description: str
    field: str
    answers: Mapping[str, str]
    answer_name: Callable[[str, str], str]
    languages: tuple[str, ...] = LANGUAGES
    score: str = "options"
    kind: str = "knowledge"
    direction: str = "any"
    text_scores: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of instances."""
        return len(self.answers)

    @known_keywords()
    def pairs(
        self,
        source_lang: str,
        target_lang: str,
        *,
        limit: Whole | None = None,
        seed: Whole | None = 0,
        n_options: int = 4,
        template: int = 0,
    ) -> list[ParallelPair]:
        """Parallel pairs, in an order that `seed` fixes and that is the same for every pair of languages.

        Args:
            source_lang: language of the source prompts; any form of a code that Babel can read ("zh-CN", "eng").
            target_lang: language of the target prompts and the options; it may be the source language (a control).
            limit: take the first `limit` only, a sample spread over the world; None, or more than there are, for all.
            seed: draws the order of the instances, the wrong options, and the place of the right one; None keeps the order of
                the data, and draws the options as 0 does.
            n_options: number of options, the right one included; at most the number of different answers.
            template: layout of the card: 0 for one line, 1 for two.

        Returns:
            Pairs with `id` "task/COUNTRY" and, in `meta`, the country, the keys of the options, the seed that drew them, the
            template, and the version of CLDR that the names are from.

        Raises:
            InputError: an unknown language, or a number that is none or out of range.
        """
        source_lang = normalise_language(source_lang, self.languages, "source_lang")
        target_lang = normalise_language(target_lang, self.languages, "target_lang")
        if limit is not None:
            limit = check_whole("limit", limit, 1)
        seed = check_seed(seed)
        n_options = check_whole("n_options", n_options, 2, len(set(self.answers.values())))
        template = check_whole("template", template, 0, N_TEMPLATES - 1)
        order = list(self.answers)
        if seed is not None:
            order = _shuffled(sorted(order), random.Random(f"{self.name}/{seed}"))
        drawn = seed or 0
        return [self._pair(country, source_lang, target_lang, drawn, n_options, template) for country in order[:limit]]

    def _pair(
        self, country: str, source_lang: str, target_lang: str, seed: int, n_options: int, template: int
    ) -> ParallelPair:
        right = self.answers[country]
        keys = self._option_keys(country, seed, n_options)
        options = [
            tuple(card_option(self.answer_name(key, lang), lang) for key in keys) for lang in (source_lang, target_lang)
        ]
        prompts = [
            card_prompt(country_name(country, lang), self.field, lang, template) for lang in (source_lang, target_lang)
        ]
        return ParallelPair(
            source=prompts[0],
            target=prompts[1],
            source_lang=source_lang,
            target_lang=target_lang,
            options=options[1],
            gold=keys.index(right),
            id=f"{self.name}/{country}",
            meta={
                "country": country,
                "option_keys": tuple(keys),
                "seed": seed,
                "template": template,
                "cldr": cldr_version(),
            },
            source_options=options[0],
        )

    def _option_keys(self, country: str, seed: int, n_options: int) -> list[str]:
        """Keys of the options of a country, in the order in which every language shows them."""
        rng = random.Random(f"{self.name}/{seed}/{country}")
        right = self.answers[country]
        wrong = _shuffled(sorted(set(self.answers.values()) - {right}), rng)
        return _shuffled([right, *wrong[: n_options - 1]], rng)


def _shuffled(items: Iterable[str], rng: random.Random) -> list[str]:
    """A shuffled copy. It rests on `rng.random` alone, whose sequence Python keeps the same from version to version."""
    return sorted(items, key=lambda _: rng.random())
