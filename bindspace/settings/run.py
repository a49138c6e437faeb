"""What a run can set, as dataclasses. Standard library only, so that reading a config costs nothing.

Hydra composes these (`bindspace.cli.compose.hydra`), but nothing here knows Hydra: a library user builds them by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from bindspace.contract import Choice, Size, Source


class Control(Enum):
    """Rows of control that a benchmark measures on demand."""

    within_label = "within_label"  # the right answer were another event of the same label
    two_hop = "two_hop"  # via the nearest pivot of another event
    stand_in = "stand_in"  # by one number of the query alone: duration, loudness, what its plugin tells


class Map(Enum):
    """How the map of a space is laid out."""

    pca = "pca"
    tsne = "tsne"


@dataclass
class Published:
    """A row of a table of results that others published: what is measured on which data set, and their result."""

    dataset: str  # the name of a data set plugin
    metric: str  # accuracy, map, or recall@K
    query: str  # the modality that is classified, or that queries
    gallery: str  # the modality that classes are put into words in, or that answers
    figure: float  # theirs, in percent
    source: str  # where it is published
    attribute: str = "label"  # the column of the classes; of accuracy and map only
    settings: dict[str, Any] = field(default_factory=dict)  # of the data set


class Precision(Enum):
    """Arithmetic of training. `auto`: bf16 where the processor or GPU has instructions for it, else float32."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"


@dataclass
class DataSettings:
    """`data.*`: where events come from."""

    train: list[Source] = field(default_factory=list)
    val: list[Source] = field(default_factory=list)  # empty: a share of the training rows
    test: list[Source] = field(default_factory=list)
    near: list[Source] = field(default_factory=list)  # training data that test media are compared with, for near-copies
    choices: list[Choice] = field(default_factory=list)  # probes of the benchmark, with hard distractors
    dataset: Any = None  # the config of a data set plugin, which writes the sources; `data=<its name>` selects it
    batch: int = 128  # events a step, over all ranks together
    val_fraction: float = 0.05  # of the training rows, where there is no data.val
    val_max: int = 2000  # events a pair that are validated at most, drawn by the seed
    workers: int = 1
    memory_gb: float = 2.0  # decoded samples are kept in memory up to this much
    max_bad_fraction: float = 0.01
    break_pairs: bool = False  # a control: in training the pivot's cells go to other events; nothing may be learned


@dataclass
class Pair:
    """Two modalities that are trained against each other: an item of `pairs`."""

    of: list[str]
    weight: float = 1.0
    temperature: float | None = None  # None: loss.temperature
    learned: bool | None = None  # None: loss.learned
    loss: str | None = None  # the name of another term for this pair, with its defaults; None: that of the run


@dataclass
class OptimSettings:
    """`optim.*`: AdamW, warm-up, cosine."""

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05  # not on biases, norms and temperatures
    warmup: float = 0.1  # share of the steps
    clip: float = 1.0  # gradient norm; 0: off


@dataclass
class StageSettings:
    """A part of the schedule: which pairs are trained for how many steps, and what is frozen meanwhile."""

    name: str
    steps: int
    pairs: list[str] = field(default_factory=lambda: ["all"])  # like `image-text`; `all`; `rest`: in no earlier stage
    freeze: list[str] = field(default_factory=list)  # modalities; `done`: all that an earlier stage trained
    lr: float = 1.0  # factor on optim.lr
    batch: int | None = None  # in the place of data.batch; None: data.batch


@dataclass
class TrainerSettings:
    """`trainer.*`: how the steps are run."""

    devices: int = 1
    nodes: int = 1  # machines with so many devices each; torchrun or srun starts the processes
    accelerator: str = "auto"
    precision: Precision = Precision.auto
    threads: int | None = None  # None: as many as there are cores
    cache: str | None = None  # a folder that caches embeddings of frozen towers for other runs; null: for this run only
    micro_batch: int | None = None  # samples encoded at once on each rank, for a data.batch beyond memory; null: all
    accumulate: int = 1  # plain gradient accumulation: adds no negatives, and says so
    compile: bool = False  # torch.compile of the encoders in training; needs a C++ compiler
    checkpoint_activations: bool = False  # keep only the inputs of `encoder.blocks`, and compute the rest again
    channels_last: bool = False  # convolutions with the channels innermost in memory
    checkpoint_every: int = 200  # steps
    val_every: int = 0  # steps; 0: at the end of each stage
    log_every: int = 10
    progress: bool = True
    val_pairs: list[str] = field(default_factory=list)  # like `audio-text`: measured beside those of the stage
    keep_best: str | None = None  # a validation metric, e.g. `val/image-text/r10`; recorded as `selected_on`
    keep_best_untrained: bool = False  # let keep_best be of a pair that the run does not train


@dataclass
class LoggerSettings:
    """`logger.*`: metrics.csv is always written."""

    tensorboard: bool = True


@dataclass
class BenchmarkSettings:
    """`benchmark.*`: how a space is measured."""

    modalities: list[str] | None = None  # None: all that the space and the pool share
    k: list[int] = field(default_factory=lambda: [1, 5, 10])
    permutations: int = 10000
    zero_shot: list[str] | None = None  # attribute columns; None: all with 2..100 values
    templates: dict[str, list[str]] = field(default_factory=lambda: {"default": ["{}", "a {}"]})  # by attribute; a set
    # (clip, clip7, sound) or a .txt file with one template a line counts as its lines
    pool_sizes: list[int] = field(default_factory=lambda: [100, 500, 1000])  # recall expected in smaller galleries
    slices: list[str] = field(default_factory=list)  # attribute columns: recall of the queries of each value
    controls: list[Control] = field(default_factory=list)  # within_label, two_hop, stand_in
    choices: bool = False  # the probes that the data set makes, beside those of data.choices
    composed: bool = False  # composed queries of two modalities
    map: Map = Map.pca  # of report.html: the main axes, or t-SNE (needs openTSNE)
    shots: list[int] = field(default_factory=list)  # linear probes with so many examples a class; 0: all
    published: list[Published] = field(default_factory=list)  # a table of others' results that is measured, and no more
    batch_size: int = 128
    at_end: bool = True  # a training run measures its test pools when it ends; `suite=none` leaves them for later
    seed: int = 0


@dataclass
class TrainRun:
    """The whole config of `bindspace train`."""

    size: Size = Size.tiny
    dim: int = 128
    pivot: str = "???"  # a role, not a name: conf/train.yaml chooses the modality
    modality: dict[str, Any] = field(default_factory=dict)  # name -> the plugin's own dataclass
    pairs: list[Pair] | None = None  # None: the star round the pivot
    terms: list[Any] = field(default_factory=list)  # further terms of the loss: {use: NAME, of: [A,B,...], ...}
    data: DataSettings = field(default_factory=DataSettings)
    loss: Any = None  # the term of every listed pair, a plugin's own dataclass; `loss=<its name>` selects it
    optim: OptimSettings = field(default_factory=OptimSettings)
    stages: list[StageSettings] = field(default_factory=lambda: [StageSettings("joint", 1000)])
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logger: LoggerSettings = field(default_factory=LoggerSettings)
    callbacks: dict[str, Any] = field(default_factory=dict)  # name -> the plugin's own dataclass
    benchmark: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    seed: int = 0
    out: str | None = None  # None: outputs/<experiment>/<date_time>
    run: str | None = None  # a run folder to resume
    extend: str | None = None  # a space folder that new modalities join


@dataclass
class BenchmarkRun:
    """The whole config of `bindspace benchmark`."""

    space: str = "???"
    out: str = "???"
    data: DataSettings = field(default_factory=DataSettings)
    benchmark: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    cache: str | None = None  # a folder where vectors are kept, as trainer.cache of training; null: nowhere
    data_root: str | None = None  # of a table of published results: holds each data set in a folder of its name
    device: str = "auto"
