"""Is the gain of one cell the question's own content? The same cell, fed with the English question about another country.

python benchmarks/shuffled_source.py [--languages es fr it] [--source-layer 12] [--target-layer 13] [--module attn]
"""

from __future__ import annotations

import argparse

import xtl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--languages", nargs="+", default=["es", "fr", "it"])
    parser.add_argument("--module", default="attn")
    parser.add_argument("--source-layer", type=int, default=12)
    parser.add_argument("--target-layer", type=int, default=13)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()

    model = xtl.load_model()
    cell = {
        "modules": [arguments.module],
        "source_layers": [arguments.source_layer],
        "target_layers": [arguments.target_layer],
        "verify": 0,
    }
    print("direction   n  vanilla    real  shuffled   gain: real  shuffled (nats)")
    for language in arguments.languages:
        pairs = xtl.get_task("capitals").pairs("en", language, limit=arguments.limit)
        real = xtl.concat_maps(xtl.sweep_many(model, pairs, **cell))
        control = xtl.concat_maps(xtl.controls.run(model, pairs, "shuffled_source", **cell))
        accuracies = (float(real.vanilla_correct.mean()), float(real.correct.mean()), float(control.correct.mean()))
        print(
            f"en->{language:6} {len(pairs):3}  " + "  ".join(f"{value:6.1%}" for value in accuracies),
            f"      {float(real.gain.mean()):+.2f}      {float(control.gain.mean()):+.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
