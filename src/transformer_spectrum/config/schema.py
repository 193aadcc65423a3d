"""The sections of params.yaml: every knob declared once, with its meaning, unit and legal range.

One concept, and therefore one long module: whoever looks for a knob, its default's bounds or its rule looks here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from transformer_spectrum.config.fields import (
    Extended,
    Flag,
    OptionalName,
    OptionalNames,
    OptionalReal,
    OptionalSingle,
    OptionalWhole,
    Real,
    RuleAcross,
    Section,
    Single,
    Whole,
)

OPTIMIZERS = ("adam", "es", "ga")
"""What a network can be trained by, each with a section of its own: the only list of them."""


class SGTParams(Section):
    """Skewed generalized t, convention of `distributions.sgt`."""

    mu: Real = Field(description="location: the mean when centred, else the mode; in the unit of what it describes")
    sigma: Real = Field(gt=0, description="scale: the standard deviation when unit_variance; in the same unit")
    lam: Real = Field(gt=-1, lt=1, description="skewness, 0 is symmetric; dimensionless")
    p: Real = Field(gt=0, description="peak shape: 1 Laplace-like, 2 t-like; dimensionless")
    q: Extended = Field(gt=0, description="tail: smaller is heavier, inf has exponential tails; dimensionless")
    centred: Flag = Field(description="mu is the mean (needs p*q > 1) instead of the mode")
    unit_variance: Flag = Field(description="sigma is the standard deviation (needs p*q > 2), not the raw scale")


def check_sgt_domain(block: Any, where: str) -> None:
    """Raises `RuleAcross`, naming both values, where centring or variance scaling has no meaning.

    >>> block = SGTParams(mu=0.0, sigma=1.0, lam=0.0, p=2.0, q=0.5, centred=True, unit_variance=False)
    >>> check_sgt_domain(block, "loss")
    Traceback (most recent call last):
    transformer_spectrum.config.fields.RuleAcross: loss.q = 0.5 with loss.p = 2: the SGT mean needs p*q > 1
    """
    for flag, least, word in ((block.unit_variance, 2, "variance"), (block.centred, 1, "mean")):
        if flag and not block.p * block.q > least:
            raise RuleAcross({f"{where}.q": block.q, f"{where}.p": block.p}, f"the SGT {word} needs p*q > {least}")


class KernelParams(Section):
    type: Literal["none", "gaussian", "sine", "cosine", "cosine_gaussian"] = Field(
        description="smoothing kernel of the synthetic series"
    )
    size: Whole = Field(ge=1, description="taps; steps")
    sigma: Real = Field(gt=0, description="width of the Gaussian factor; steps")
    period: Real = Field(gt=0, description="period of the sine or cosine factor; steps")


class SyntheticParams(SGTParams):
    series: Whole = Field(ge=3, description="how many series; count")
    length: Whole = Field(ge=4, description="points in each; steps")
    features: Whole = Field(ge=1, description="independent channels in each; count")
    season: Whole = Field(ge=1, description="lag of the seasonal-naive forecast; steps")
    kernel: KernelParams


class CovidParams(Section):
    url: str = Field(description="upstream CSV, wide: date x location")
    countries: tuple[str, ...] = Field(
        min_length=1, description="locations to use; one that upstream lacks is reported"
    )
    smoothing_days: Whole = Field(ge=1, description="trailing mean; days")
    season: Whole = Field(ge=1, description="lag of the seasonal-naive forecast; days")


class RvrSourceParams(Section):
    url: str = Field(description="upstream SODA endpoint")


class RvrSeriesParams(Section):
    sequence_length: OptionalWhole = Field(
        ge=2, description="overrides data.sequence_length where series are shorter; days, null = no override"
    )
    output_length: OptionalWhole = Field(ge=1, description="overrides data.output_length; days, null = no override")
    season: Whole = Field(ge=1, description="lag of the seasonal-naive forecast; days")


class FileParams(Section):
    season: Whole = Field(ge=1, description="lag of the seasonal-naive forecast; steps, 1 = persistence")
    time_column: OptionalName = Field(description="time in a table; null = recognised by its name and by what it holds")
    entity_column: OptionalName = Field(description="what tells the series of a table apart; null = recognised")
    value_columns: OptionalNames = Field(
        description="what to forecast, names between commas; null = all that are neither time nor entity"
    )


class SplitParams(Section):
    by: Literal["entity", "time"] = Field(
        description="entity: whole series are held out; time: the latest windows of all series are"
    )
    validation: Real = Field(gt=0, lt=1, description="share that selects the best weights; fraction")
    test: Real = Field(gt=0, lt=1, description="share that is scored and selects nothing; fraction")


class DescribeParams(Section):
    hill_fraction: Real = Field(gt=0, le=0.5, description="upper tail that enters the Hill index; fraction")
    fit_points: Whole = Field(ge=100, description="at most so many increments enter the SGT fit; count")


class DataParams(Section):
    dataset: Literal["synthetic", "covid", "rvr_beds", "rvr_flu", "file"] = Field(
        description="the series to forecast; file: what lies in data/raw/file, or the file given to `train`"
    )
    mirror: str | None = Field(
        description="folder or URL tried before upstream; the variable TRANSFORMER_SPECTRUM_MIRROR overrides it"
    )
    on_unreachable: Literal["standin", "fail"] = Field(
        description="without mirror and upstream: simulate a marked stand-in, or fail"
    )
    standin_seed: Whole = Field(ge=0, description="seed of the simulated stand-in")
    sequence_length: Whole = Field(ge=2, description="one window, context and horizon together; steps")
    output_length: Whole = Field(ge=1, description="the horizon, its last part; steps")
    stride: OptionalWhole = Field(
        ge=1, description="distance of window starts; steps, null = sequence_length (no overlap)"
    )
    scaling: Literal["standard", "robust"] = Field(
        description="by the context's mean and standard deviation, or median and interquartile range"
    )
    split: SplitParams
    describe: DescribeParams
    synthetic: SyntheticParams
    covid: CovidParams
    rvr: RvrSourceParams
    rvr_beds: RvrSeriesParams
    rvr_flu: RvrSeriesParams
    file: FileParams

    @property
    def chosen(self) -> SyntheticParams | CovidParams | RvrSeriesParams | FileParams:
        """The block of the chosen data set."""
        return getattr(self, self.dataset)

    @property
    def window_length(self) -> int:
        """Steps in one window of the chosen data set."""
        return getattr(self.chosen, "sequence_length", None) or self.sequence_length

    @property
    def horizon(self) -> int:
        """Steps to forecast for the chosen data set."""
        return getattr(self.chosen, "output_length", None) or self.output_length

    @property
    def context(self) -> int:
        """Steps that are given for the chosen data set."""
        return self.window_length - self.horizon


class LossParams(SGTParams):
    type: Literal["mse", "mae", "cauchy", "sgt"] = Field(description="what training minimises")
    gamma: Real = Field(gt=0, description="scale of the Cauchy loss; scaled units")
    factor: Real = Field(gt=0, description="the loss is multiplied by it; dimensionless")
    scale: Literal["fixed", "residual"] = Field(
        description="residual: sigma (sgt) or gamma (cauchy) follows the residuals' MAD, read once an epoch; changes "
        "nothing of mse and mae"
    )


class ModelParams(Section):
    type: Literal["transformer", "lstm"] = Field(description="architecture")
    embed_dim: Whole = Field(ge=2, description="width of tokens and of the LSTM state; count")
    heads: Whole = Field(ge=1, description="attention heads; divides embed_dim; count")
    layers: Whole = Field(ge=1, description="encoder layers, and as many decoder layers; count")
    feedforward_dim: Whole = Field(ge=1, description="width inside the feed-forward blocks; count")
    dropout: Real = Field(
        ge=0,
        lt=1,
        description="on residual branches and embeddings, between LSTM layers; of gradient methods only; fraction",
    )
    patch_length: Whole = Field(ge=1, description="time steps in one token; divides context and horizon; steps")


class TrainingParams(Section):
    batch_size: Whole = Field(ge=1, description="windows in one batch, for all three searchers; count")
    batch_seed: OptionalWhole = Field(
        ge=0, description="of the order of a gradient method's batches alone; whole, null = seed, as for all else"
    )
    select: Literal["mae", "loss"] = Field(
        description="the best weights are those of the lowest validation MAE, or of the lowest validation loss"
    )
    record_every: Whole = Field(
        ge=1,
        description="spectra and validation every so many epochs or generations; all updates 1, 2, 4, ... of the first "
        "epoch and the last step besides; count",
    )
    snapshot_every: Whole = Field(
        ge=1,
        description="weights are kept every so many epochs or generations, and inside the first epoch; a multiple of "
        "training.record_every; count",
    )
    step_spectra: Flag = Field(
        description="also the singular values of the step since the record before, where weights are kept"
    )
    workers: Whole = Field(ge=1, description="threads that share a population's candidates; the result does not change")
    memory_mib: OptionalWhole = Field(
        ge=1, description="bounds the activations of candidates computed at once; MiB, null = what is fastest here"
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        description="of the products when a population is scored; auto: bfloat16 where it pays, with one time step a "
        "token on a processor with its instructions, so that results differ between processors; recorded in run.json"
    )
    tf32: Flag = Field(
        description="let a GPU round the factors of float32 products to 10 bits of mantissa; no effect on a CPU"
    )


class BudgetParams(Section):
    evaluations: OptionalWhole = Field(
        ge=1, description="ends each training after so many forward passes over a batch; count, null = no limit"
    )
    seconds: OptionalReal = Field(
        gt=0, description="ends each training after so long; wall seconds, null = no limit; not reproducible"
    )


class AdamParams(Section):
    algorithm: Literal["adam", "adamw", "sgd", "lion", "muon", "soap"] = Field(
        description="the gradient method; muon: hidden matrices by orthogonalised momentum, all else by AdamW; soap: "
        "Adam in the eigenbases of each matrix's gradients"
    )
    epochs: Whole = Field(ge=1, description="at most so many")
    learning_rate: OptionalReal = Field(
        gt=0, le=10, description="at its highest; per weight and update; null = the algorithm's own"
    )
    weight_decay: OptionalSingle = Field(
        ge=0,
        description="adamw, lion, muon, soap: decoupled, share of the learning rate; adam, sgd: added to the gradient; "
        "null = the algorithm's own, 0.01 for adamw and 0 for the others",
    )
    beta1: OptionalReal = Field(
        ge=0,
        lt=1,
        description="all but sgd: of the running mean of gradients; adam with 0 is RMSProp-like; null = the "
        "algorithm's own, 0.9, and 0.95 for soap",
    )
    beta2: OptionalReal = Field(
        ge=0,
        lt=1,
        description="all but sgd: of the running mean of squares (lion: of gradients); null = the algorithm's own, "
        "0.999, 0.99 for lion and 0.95 for soap",
    )
    momentum: OptionalReal = Field(
        ge=0, lt=1, description="of sgd and muon; null = the algorithm's own, 0.9 for sgd and 0.95 for muon"
    )
    nesterov: Flag = Field(description="of sgd: Nesterov's momentum; muon always has it")
    warmup_epochs: Whole = Field(ge=0, description="epochs in which the learning rate rises linearly from 0")
    schedule: Literal["constant", "cosine"] = Field(
        description="of the learning rate after the warm-up; cosine falls to 0 at adam.epochs"
    )
    gradient_clip: Real = Field(ge=0, description="largest gradient norm, 0 = off; loss units")
    compile: Flag = Field(description="torch.compile the loss and its gradient; its time is reported")
    patience: OptionalWhole = Field(
        ge=1, description="ends after so many epochs without a better validation score; null = never"
    )

    @model_validator(mode="after")
    def _warmup(self) -> AdamParams:
        if self.warmup_epochs >= self.epochs:
            epochs = {"adam.warmup_epochs": self.warmup_epochs, "adam.epochs": self.epochs}
            raise RuleAcross(epochs, "must be smaller")
        return self

    @model_validator(mode="after")
    def _of_algorithm(self) -> AdamParams:
        algorithm = {"adam.algorithm": self.algorithm}
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            if value is not None and self.algorithm == "sgd":
                raise RuleAcross({f"adam.{name}": value, **algorithm}, "needs another, sgd has none")
        if self.momentum is not None and self.algorithm not in ("sgd", "muon"):
            raise RuleAcross({"adam.momentum": self.momentum, **algorithm}, "needs sgd or muon")
        if self.nesterov and (self.algorithm != "sgd" or self.momentum == 0):
            momentum = {} if self.momentum is None else {"adam.momentum": self.momentum}
            raise RuleAcross({"adam.nesterov": True, **algorithm, **momentum}, "needs sgd with momentum > 0")
        return self


class ESParams(Section):
    algorithm: Literal["cma", "sep_cma", "openai", "snes"] = Field(
        description="cma: the cma package; sep_cma: separable CMA-ES in torch; openai: mirrored sampling and centred "
        "ranks; snes: separable natural evolution strategy"
    )
    covariance: Literal["diagonal", "vd", "vkd", "full"] = Field(
        description="of cma's search distribution; full is refused where it would not fit in memory"
    )
    popsize: Whole = Field(ge=4, description="candidates in a generation, even; count")
    generations: Whole = Field(ge=1, description="at most so many; a step is one generation")
    sigma: Single = Field(gt=0, description="initial step size of the search; weight units")
    sigma_decay: Real = Field(
        gt=0, le=1, description="openai: sigma is multiplied by it after each generation; 1 = off"
    )
    optimizer: Literal["adam", "sgd"] = Field(description="openai: what takes the estimated gradient")
    learning_rate: OptionalReal = Field(
        gt=0, le=10, description="openai: of that optimizer; snes: of the mean; null = the method's own, 0.003 and 1"
    )
    weight_decay: Single = Field(ge=0, description="openai: decoupled, share of the learning rate; 0 = off")
    rank: Whole = Field(ge=0, description="openai: rank of each matrix's perturbation; 0 = full; count")
    patience: OptionalWhole = Field(
        ge=1, description="ends after so many generations without a better validation score; null = never"
    )

    @model_validator(mode="after")
    def _rules(self) -> ESParams:
        if self.popsize % 2:
            raise RuleAcross({"es.popsize": self.popsize}, "must be even (mirrored pairs)")
        if self.rank and self.algorithm != "openai":
            raise RuleAcross({"es.rank": self.rank, "es.algorithm": self.algorithm}, "needs openai")
        if self.covariance != "diagonal" and self.algorithm != "cma":
            raise RuleAcross({"es.covariance": self.covariance, "es.algorithm": self.algorithm}, "needs cma")
        return self


class GAParams(Section):
    popsize: Whole = Field(ge=4, description="members of the population, even; count")
    generations: Whole = Field(ge=1, description="at most so many; a step is one generation")
    spread: Real = Field(ge=0, description="of the first population around the initial weights; weight units")
    tournament_size: Whole = Field(ge=1, description="members in a tournament; at most popsize; count")
    crossover_rate: Real = Field(ge=0, le=1, description="share of couples that cross; fraction")
    crossover_eta: Real = Field(ge=0, description="SBX distribution index: larger keeps children nearer; dimensionless")
    mutation_rate: Real = Field(ge=0, le=1, description="share of weights that mutate; fraction")
    mutation_stdev: Single = Field(ge=0, description="of the Gaussian mutation; weight units")
    mutation_decay: Real = Field(
        gt=0, le=1, description="mutation_stdev is multiplied by it after each generation; 1 = off"
    )
    elites: Whole = Field(ge=0, description="best members kept and scored again; fewer than popsize; count")
    weights: Literal["member", "mean"] = Field(
        description="analysed, validated and kept: the best member, or the mean of the members, which costs an "
        "evaluation more a generation"
    )
    patience: OptionalWhole = Field(
        ge=1, description="ends after so many generations without a better validation score; null = never"
    )

    @model_validator(mode="after")
    def _sizes(self) -> GAParams:
        if self.popsize % 2:
            raise RuleAcross({"ga.popsize": self.popsize}, "must be even (couples have two children)")
        if self.tournament_size > self.popsize:
            sizes = {"ga.tournament_size": self.tournament_size, "ga.popsize": self.popsize}
            raise RuleAcross(sizes, "must not be larger")
        if self.elites >= self.popsize:
            raise RuleAcross({"ga.elites": self.elites, "ga.popsize": self.popsize}, "must be smaller")
        return self


class SpectraParams(Section):
    tracked_every: Whole = Field(
        ge=1,
        description="what needs the weights is computed at the initial ones, inside the first epoch, every so many "
        "epochs or generations and at the last; count",
    )
    tracked_at_most: Whole = Field(
        ge=4,
        description="of these so many: the first two, the best, the last, and others spread geometrically; count",
    )
    hill_fraction: Real = Field(gt=0, le=1, description="largest eigenvalues that enter Hill's alpha; fraction of rank")
    min_tail: Whole = Field(ge=2, description="fewest eigenvalues in a power-law tail; count")
    ks_distance: Literal["two_sided", "powerlaw"] = Field(
        description="Kolmogorov-Smirnov distance: two-sided supremum, or the powerlaw package's (i-1)/n"
    )
    window_first: Real = Field(ge=0, lt=1, description="alpha exponent: leading ranks left out; fraction of rank")
    window_last: Real = Field(gt=0, le=1, description="alpha exponent: last rank used; fraction of rank")
    edge_level: Real = Field(
        ge=0.5, lt=1, description="probability that pure noise has no spike above the Tracy-Widom edge; fraction"
    )
    shuffles: Whole = Field(
        ge=3, description="nulls: matrices with shuffled entries drawn for each one at each tracked step; count"
    )
    overlap_rank: Whole = Field(
        ge=1, description="leading singular vectors of a change that are compared with as many of W_0; count"
    )
    per_head: Flag = Field(description="also analyse every head of Q, K and V at the tracked steps")
    farms_size: Whole = Field(
        ge=4, description="FARMS alpha: side of the square submatrices, at most the smaller one of the matrix; count"
    )
    bootstrap: Whole = Field(
        ge=0, description="draws of the power law's goodness of fit at the first and the last step; count, 0 = off"
    )

    @model_validator(mode="after")
    def _window(self) -> SpectraParams:
        if self.window_first >= self.window_last:
            window = {"spectra.window_first": self.window_first, "spectra.window_last": self.window_last}
            raise RuleAcross(window, "must be smaller")
        return self


class TrackingParams(Section):
    mlflow: Annotated[str, Field(min_length=1)] | None = Field(
        description="MLflow store that gets the trainings too: a folder, sqlite:///FILE or http(s)://SERVER; null = "
        "none; the variable MLFLOW_TRACKING_URI takes its place"
    )
