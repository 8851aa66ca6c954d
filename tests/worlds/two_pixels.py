"""Two pixels of three classes with a distribution known exactly, predictors that know it, one that takes notes."""

from types import SimpleNamespace

import torch
from scipy.stats import chisquare

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import Noise, ReverseProcess, ReverseSettings, sample_seeds
from gcdp.diffusion.schedules import NoiseSchedule
from worlds import brute_force as brute

K, PIXELS, T = 3, 2, 1000
ALARM = 1e-3  # p-value below which a test fails; all draws are fixed by seeds
SCHEDULE = NoiseSchedule.cosine(T)
SIZE = (1, PIXELS)
PREDICTIONS = {name: GaussianDiffusion(SCHEDULE, name) for name in ("x0", "v", "eps")}
PROCESS = GaussianCategoricalDiffusion(PREDICTIONS["x0"], CategoricalDiffusion(K, SCHEDULE))


def noise_of(count, seed=0):
    return Noise(sample_seeds(seed, count), torch.device("cpu"))


def settings(num_steps, **changed):
    return ReverseSettings(num_steps, **{"threshold": 1.0, "final": "sample", **changed})


def time_of(log_snr):
    """The time a network was told, read back from its log-SNR: one integer for the whole batch."""
    table = SCHEDULE.log_snr(torch.arange(T + 1))
    return int((table - log_snr[0]).abs().argmin())


class World:
    """Two pixels with a coupled prior over 9 layouts; x_0 | y_0 ~ N(means[y_0], spread^2) in three channels."""

    def __init__(self, spread=0.1, prediction="x0"):
        self.spread, self.gaussian = spread, PREDICTIONS[prediction]
        self.layout = brute.EnumeratedLayout(SCHEDULE, K, PIXELS, brute.coupled_prior(K, PIXELS, 0))
        self.draws = g = torch.Generator().manual_seed(1)
        self.means = 1.2 * torch.rand(K**PIXELS, 3, 1, PIXELS, generator=g, dtype=torch.float64) - 0.6

    def draw_clean(self, x, y, log_snr_x, log_snr_y):
        """A draw from p(x_0, y_0 | x_t, y_t) in place of a prediction: jumps from it are exact at any stride."""
        x, t_x, t_y = x.double(), time_of(log_snr_x), time_of(log_snr_y)
        ab = SCHEDULE.alpha_bar[t_x]
        variance = ab * self.spread**2 + 1 - ab
        log_y = self.layout.jump(t_y).T[config_of(y)].log()
        distance = (x[:, None] - ab.sqrt() * self.means).square().sum((2, 3, 4)) / (2 * variance)
        weights = (self.layout.prior.log() + log_y - distance).softmax(1)
        config = torch.multinomial(weights, 1, generator=self.draws)[:, 0]
        means = self.means[config]
        mean = means + ab.sqrt() * self.spread**2 / variance * (x - ab.sqrt() * means)
        spread = (self.spread**2 * (1 - ab) / variance).sqrt()
        x0 = mean + spread * torch.randn(x.shape, generator=self.draws, dtype=x.dtype)
        onehot = self.layout.per_pixel(torch.eye(K**PIXELS, dtype=torch.float64))[config]
        return self.output(x0, x, t_x).float(), onehot.log().clamp(min=-1e4).float()

    def output(self, x0, x, t):
        """The network output that means this clean image."""
        if self.gaussian.prediction == "x0":
            return x0
        t = torch.tensor([t])
        return self.gaussian.target(x0, self.gaussian.predict_eps(x0, x, t), t)

    def run(self, num_steps, count=4000, **known):
        process = GaussianCategoricalDiffusion(self.gaussian, PROCESS.categorical)
        reverse = ReverseProcess(process, settings(num_steps))
        return reverse.run(self.draw_clean, SIZE, noise_of(count, num_steps), **known)


def config_of(y):
    return y[:, 0, 0] * K + y[:, 0, 1]


def p_of_layouts(counts, expected):
    """Chi-square p-value; cells that expect fewer than 5 are pooled."""
    filled = expected >= 5
    cells = [torch.cat([v[filled], v[~filled].sum()[None]]) for v in (counts.double(), expected)]
    return chisquare(*(c if (~filled).any() else c[:-1] for c in cells)).pvalue


class Recorder:
    """A predictor that notes what it was told; its answers depend on its inputs."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, y, log_snr_x, log_snr_y):
        self.calls.append(SimpleNamespace(x=x, y=y, t_x=time_of(log_snr_x), t_y=time_of(log_snr_y)))
        logits = torch.nn.functional.one_hot((y + 1) % K, K).permute(0, 3, 1, 2).float()
        return 0.5 * x.tanh() if x is not None else None, logits


def record(num_steps, process=PROCESS, on_step=None, seed=0, settings_=None, **known):
    recorder = Recorder()
    reverse = ReverseProcess(process, settings_ or settings(num_steps))
    pair = reverse.run(recorder, (4, 4), noise_of(3, seed), on_step=on_step, **known)
    return *pair, recorder.calls
