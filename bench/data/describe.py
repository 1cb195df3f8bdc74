"""What `bench data info` says about prepared data."""

from __future__ import annotations

from typing import Any

from bench.data.config import DatasetConfig, Seen
from bench.data.examples import PreparedData
from bench.data.prepare.interactions import SPLITS
from bench.data.repeats import Shares
from bench.evaluation.segments import TARGET_SEGMENTS, segment_masks

COUNTS = ("users", "items", "interactions", *SPLITS)


def describe(data: PreparedData, config: DatasetConfig, about: dict[str, Any]) -> dict[str, Any]:
    """Counts, fingerprints, published counts, and test rows by kind.

    Args:
        data: the prepared rows.
        config: the dataset's configuration.
        about: what `store.about` says of the preparation.

    Returns:
        JSON-ready. `published` holds `{count: {"published": n, "difference_percent": x}}` and is
        empty where nothing is published, or the protocol is not the dataset's own.
    """
    counts = {name: about[name] for name in ("users", "items", "interactions")} | about["rows"]
    masks = segment_masks(data)
    return {
        "dataset": data.dataset,
        "protocol": data.protocol,
        "origin": about["origin"],
        "counts": counts,
        "items_without_text": sum(not text.strip() for text in data.item_texts),
        "test_targets": {name: float(masks[name].mean()) for name in TARGET_SEGMENTS},
        "test_segments": {name: int(mask.sum()) for name, mask in masks.items()},
        "repeated_targets": about["repeats"],
        "seen": about["seen"],
        "published": _compare(counts, data, config),
        "published_source": config.published.source if config.published else None,
        "catalogue_fingerprint": data.catalogue_fingerprint,
        "split_fingerprint": data.split_fingerprint,
        "fingerprint": data.fingerprint,
        "report": about["report"],
        "licence": config.licence,
        "citation": config.citation,
    }


def as_text(description: dict[str, Any]) -> str:
    """The description for a terminal."""
    published = description["published"]
    lines = [f"{description['dataset']} under {description['protocol']} ({description['origin']})"]
    lines += [f"  {line}" for line in description["report"]]
    for name, count in description["counts"].items():
        line = f"  {name:<13}{count:>12,}"
        if name in published:
            known = published[name]
            line += f"   published {known['published']:>12,} ({known['difference_percent']:+.2f} %)"
        lines.append(line)
    if without := description["items_without_text"]:
        lines.append(f"  {without:,} of {description['counts']['items']:,} items have no text")
    if published:
        lines.append(f"  published by {description['published_source']}")
    shares = (f"{name} {share:.1%}" for name, share in description["test_targets"].items())
    lines.append(f"  test targets: {', '.join(shares)} (in training 0, 1-4, 5 times or more)")
    lines += _repeats(description["repeated_targets"], description["seen"])
    lines.append(f"  fingerprint {description['fingerprint']}")
    return "\n".join(lines)


def _repeats(shares: Shares, seen: Seen) -> list[str]:
    """How many targets the user had before, and the rule that follows."""
    told = (
        f"{split} {of['earlier']:.1%} ({of['history']:.1%} in the history shown)"
        for split, of in shares.items()
    )
    ranked = "left out of rankings" if seen == "mask" else "ranked"
    return [
        f"  targets that the user had before: {', '.join(told)}",
        f"  items that the user had before are {ranked} by default (protocol.seen={seen})",
    ]


def _compare(
    counts: dict[str, int], data: PreparedData, config: DatasetConfig
) -> dict[str, dict[str, float]]:
    if config.published is None:
        return {}
    own = data.protocol == config.protocol.slug
    known = {
        name: value
        for name in (COUNTS if own else COUNTS[:3])
        if (value := getattr(config.published, name)) is not None
    }
    return {
        name: {
            "published": value,
            "difference_percent": round(100 * (counts[name] - value) / value, 4),
        }
        for name, value in known.items()
    }
