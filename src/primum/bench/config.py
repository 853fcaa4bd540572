"""What the bench measures: sizes of made-up models or a model of one's own, and the shape of a step."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from primum.config import Config

Engine = Literal["primum", "trl"]
SizeName = Literal["tiny", "small", "large", "huge"]
OWN = "model"  # how the row of a model of one's own is called


class Shape(NamedTuple):
    """A Qwen3-shaped model: tied embeddings, heads of 32, a feed-forward layer three times as wide as the others."""

    vocab: int
    hidden: int
    layers: int


SIZES: dict[str, Shape] = {
    "tiny": Shape(64, 32, 1),  # to see that the bench works
    "small": Shape(512, 128, 4),  # 0.9 million parameters
    "large": Shape(32_000, 256, 6),  # 13 million, most of them the vocabulary's
    "huge": Shape(151_936, 1024, 28),  # 0.5 billion: for a GPU
}


class BenchConfig(Config):
    """The work of one step, and how often it is timed."""

    sizes: tuple[SizeName, ...] = ("large", "small")  # written sizes=large,small
    model: str = ""  # a Hugging Face folder to use in place of the made-up models
    steps: int = Field(5, ge=1, le=1000)  # timed steps of each pair of processes; one more before them is not
    repeats: int = Field(2, ge=1, le=100)  # pairs of processes for each size: memory has one peak in each
    prompts: int = Field(8, ge=1, le=4096)
    group: int = Field(8, ge=2, le=4096)  # completions of each prompt
    cap: int = Field(64, ge=1, le=65536)  # most tokens of a completion
    precision: Literal["float32", "bfloat16"] = "float32"  # of the arithmetic; weights and optimiser are float32
    threads: int = Field(0, ge=0, le=4096)  # of the CPU, in each process; 0 leaves it to torch
    seed: int = Field(0, ge=0)

    @field_validator("sizes", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Names with commas between them are a list, each of them once."""
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not names:
            raise ValueError(f"write some of {', '.join(get_args(SizeName))} with commas between them")
        return list(dict.fromkeys(str(name).strip() for name in names))

    @property
    def rows(self) -> tuple[str, ...]:
        """What is measured one after the other."""
        return (OWN,) if self.model else self.sizes
