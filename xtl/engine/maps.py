"""`sweep`: the map of one pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import xarray as xr

from xtl.backend import Model
from xtl.engine.driver import Driver, Progress
from xtl.engine.places import labelled_places, placed
from xtl.engine.prepare import Activations, SweepSettings
from xtl.engine.sources import Sources, check_sources, labelled_sources, reading
from xtl.errors import InputError, Whole, check_function, known_keywords
from xtl.hooks import Module
from xtl.layers import Layers
from xtl.pairs import ParallelPair, Prompt, check_question
from xtl.scoring.likelihood import MixedOptions
from xtl.scoring.text import TextScore
from xtl.tokens import Position
from xtl.transplants import check_source_and_target


@known_keywords()
@torch.no_grad()
def sweep(
    model: Model,
    pair: ParallelPair | None = None,
    *,
    source: Prompt | None = None,
    target: Prompt | None = None,
    options: Sequence[str] | None = None,
    gold: Whole | None = None,
    answer: str | None = None,
    modules: Sequence[str | Module] = ("attn", "mlp"),
    source_layers: Layers | None = None,
    target_layers: Layers | None = None,
    max_new_tokens: Whole | None = None,
    text_score: TextScore | None = None,
    normalise: str = "none",
    steps: str = "first",
    engine: str = "auto",
    verify: Whole = 1,
    chunk_size: Whole | str = "auto",
    details: Sequence[str] | str = (),
    alpha: float | Sequence[float] = 1.0,
    heads: Layers | None = None,
    source_heads: Layers | None = None,
    target_heads: Layers | None = None,
    sources: Sources | None = None,
    combine: str | None = None,
    source_position: Position | None = None,
    target_position: Position | None = None,
    activations: Activations | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The map of one pair: what comes of every transplant, and what it gains over vanilla.

    Scores options or an answer by likelihood; with `max_new_tokens` the model answers greedily under every transplant instead.

    Args:
        model: from `xtl.load_model`, or any HookedTransformer or TransformerBridge.
        pair: a `ParallelPair`, instead of `source`, `target`, `options`, `gold` and `answer`.
        source: prompt whose activations are read; text or token ids.
        target: prompt into which they are written, one at a time; text or token ids.
        options: strings that continue the target prompt; scores the log-probability of the gold one among them.
        gold: index of the right option.
        answer: a string that continues the target prompt, instead of options; scores its log-probability.
        modules: names from `xtl.hooks.MODULES`, "attn_head" (one head at a time), or an `xtl.Module` of your own.
        source_layers: layers to read, from 0 (negative: from the end), a list, an array or a text ("0-5", see `xtl.layers`); all
            by default.
        target_layers: layers to write, in the same form; all by default.
        max_new_tokens: generate an answer of at most so many tokens in every cell (the paper: 20); None scores by likelihood.
        text_score: how to score the generated answers (see `xtl.scoring.text`); None leaves them unscored.
        normalise: what likelihood is divided by: "none", "token" (the tokens of each option, or of the answer) or "byte" (its
            UTF-8 bytes). A sum over tokens favours short options (see docs/scoring.md).
        steps: "first" patches the pass over the prompt alone (the paper's rule); "every" also the tokens after it.
        engine: "packed" (all cells at once), "batched" (cells as a batch), "loop" (one `run_with_hooks` a cell), or "auto": the
            first of these that can run the model. All are exact. The result's attributes say which it was.
        verify: number of cells, drawn at random, that are computed again by the loop and must agree; 0 for none. The result's
            attributes hold the largest difference.
        chunk_size: cells at a time; "auto" keeps their activations under half a GB. Where memory runs
            out all the same, the chunk is halved and a warning says so.
        details: what to keep beside the score: "options", "lens", "state", "confidence", "agreement" (see
            `xtl.results.details`). Nothing by default.
        alpha: how much of the source is written: own + alpha (source - own). 1 is the transplant, 0 changes nothing; below 0 and
            above 1 it goes on in the same direction. Several become an axis `alpha` of the map.
        heads: of the module "attn_head", which heads are read and written, from 0 in each layer, in the form of layers; all by
            default. Query heads, also of grouped-query models. The map has axes `source_head` and `target_head`.
        source_heads: which heads are read, where not those.
        target_heads: which heads are written, where not those.
        sources: several source prompts, in place of the pair's own: by language, as `{"en": ..., "fr": ...}`, or as pairs that
            have the same target prompt. Each has a map of its own, along an axis `source_lang`; the target is read once.
        combine: "mean" writes the mean of the sources' activations instead, as one map.
        source_position: which token of the source prompt is read, in place of the last one: an index (negative: from the end),
            several in ascending order, `xtl.at_word("Paris")` (the last token of a word) or `xtl.over_words("the Eiffel Tower")`
            (all its tokens).
        target_position: which token of the target prompt is written, likewise; as many as are read, each its own.
        activations: write these instead of what the source prompt gives, by module name and (0-based) source layer.
        progress: called after each cell with (cells done, cells in all).

    Returns:
        A Dataset with dims `module, source_layer, target_layer` and further axes that were asked for: `source_head` and
        `target_head` of modules by head, `alpha` where several were given (a single one that is not 1 is an attribute),
        `source_lang` with `sources`. By likelihood: `score` and `gain` (float32, nats), `correct`
        (bool, with options; a tie is not right), the scalars `vanilla_score` and `vanilla_correct`. With `normalise` also the
        same (but `gain`) of none and of each normalisation: `score_raw`, `score_per_token`, `correct_raw`, ... The coord
        `options` is JSON that says of each option its tokens, its bytes and whether it was tokenised alone. For a pair with a
        `distribution` also `similarity` and `vanilla_similarity` (1 - Jensen-Shannon distance of the options' probabilities from
        it). With details="options" also `option_logprob` and `vanilla_option_logprob` (float32, dim `option`: an option's
        place), the log-probability of each option among the options; with details="lens" `lens_option_logprob`, with "state"
        `final_state` (dim `component`), and vanilla's. Generated: `text`, `tokens` (int32, with a dim `step`; -1
        after the end), `vanilla_text`, `vanilla_tokens`, and with `text_score` also `score`, `gain` (from 0 to 1) and `correct`.
        With details="agreement" also `agrees_with_vanilla`, `agrees_with_source` (bool), and of the source prompt's own answer
        `source_score` and `source_correct`, or `source_text`; with details="confidence" `answer_logprob`, `first_margin` and
        `first_entropy` (float32), and vanilla's. Coords for languages, prompts and gold; attributes that say
        model, backend, engine, score and versions.

    Raises:
        InputError: an unknown module or engine, a layer out of range, bad prompts or options (see `ParallelPair`).
        ModelError: the model gives NaN or infinite logits (the message names the cell), or the check by `verify` fails.

    Example:
        >>> import xtl
        >>> model = xtl.load_model()  # doctest: +SKIP
        >>> result = xtl.sweep(  # doctest: +SKIP
        ...     model,
        ...     source="Country: France. Capital:",
        ...     target="País: Francia. Capital:",
        ...     options=[" París", " Roma", " Lima"], gold=0,
        ...     modules=["attn"], source_layers=[12], target_layers=[12, 13],
        ... )
        >>> result.gain.sel(module="attn", source_layer=12, target_layer=13)  # doctest: +SKIP
    """
    named = (
        None if sources is None else check_sources(sources, pair.target if isinstance(pair, ParallelPair) else target)
    )
    if named is not None:
        pair, source = _with_a_source(sources, pair, source, target)
    elif combine is not None:
        raise InputError("combine is for several sources: give sources too")
    if progress is not None:
        check_function("progress", progress, "done", "n_cells")
    pair = _as_pair(pair, source, target, options, gold, answer)
    settings = SweepSettings(
        modules,
        source_layers,
        target_layers,
        max_new_tokens,
        text_score,
        normalise,
        steps,
        engine,
        verify,
        chunk_size,
        details,
        alpha,
        heads,
        source_heads,
        target_heads,
    )
    driver = Driver(model, settings)
    prepared = driver.prepare(pair).writing(activations)
    if named is not None:
        prepared = reading(model, prepared, named, combine)
    prepared = placed(model, prepared, source_position, target_position)
    if prepared.question is not None:
        mixed = MixedOptions()
        mixed.add(prepared.question.mixed)
        mixed.warn()
    result = labelled_places(driver.map(prepared, progress), prepared, source_position, target_position)
    return result if named is None else labelled_sources(result, named, combine)


def _with_a_source(
    sources: Sources | None, pair: ParallelPair | None, source: Prompt | None, target: Prompt | None
) -> tuple[ParallelPair | None, Prompt | None]:
    """A pair, or a source prompt, for what takes one: any of several sources, none of which is read as *the* source."""
    if source is not None:
        raise InputError("give source or sources, not both")
    if isinstance(sources, Mapping):
        return pair, None if pair is not None else next(iter(sources.values()))
    if pair is None and target is None and sources:
        return sources[0], None
    return pair, None if pair is not None or not sources else sources[0].source


def _as_pair(
    pair: ParallelPair | None,
    source: Prompt | None,
    target: Prompt | None,
    options: Sequence[str] | None,
    gold: Whole | None,
    answer: str | None,
) -> ParallelPair:
    if isinstance(pair, Iterable) and not isinstance(pair, str):
        raise InputError(
            f"sweep takes one pair, got a {type(pair).__name__}; xtl.sweep_many(model, pairs) takes several"
        )
    source, target = check_source_and_target(pair, source, target)
    if pair is None:
        check_question(options, gold, answer)
        return ParallelPair(source, target, options=options, gold=gold, answer=answer)
    if not (options is None and gold is None and answer is None):
        raise InputError("give a pair, or options, gold and answer, not both")
    return pair
