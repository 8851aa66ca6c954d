"""The layout half against explicit transition matrices: marginals, jumps, posteriors, plug-in steps, KL."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from worlds import brute_force as brute

from gcdp.diffusion.categorical import CategoricalDiffusion
from gcdp.diffusion.schedules import NoiseSchedule

# Property tests are derandomized: hypothesis draws the same examples in every run.
PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
T = 100
SCHEDULE = NoiseSchedule.cosine(T)
CLASSES = [2, 4, 20, 171]
JUMPS = [(1, 0), (2, 1), (50, 49), (T, T - 1), (10, 0), (60, 50), (T, T - 10), (T, 0)]  # strides 1, 10, T
classes = pytest.mark.parametrize("K", CLASSES)
jumps = pytest.mark.parametrize("t, s", JUMPS)


def times(*values):
    return torch.tensor(values)


def draw(K, seed, n=64):
    """Flat float64 log p0 (n, K), y0 and y_t (n,): labels equal in about half of the places."""
    g = torch.Generator().manual_seed(seed)
    log_p0 = (2 * torch.randn(n, K, generator=g, dtype=torch.float64)).log_softmax(1)
    y0, other = torch.randint(K, (2, n), generator=g)
    return log_p0, y0, torch.where(torch.rand(n, generator=g) < 0.5, y0, other)


def grid(labels):
    """(N,) labels as one picture (1, 1, N)."""
    return labels[None, None]


def picture(rows):
    """(N, K) rows as (1, K, 1, N)."""
    return rows.T[None, :, None]


def rows(tensor):
    """(1, K, 1, N) back to (N, K)."""
    return tensor[0, :, 0].T


@classes
@pytest.mark.parametrize("t", [0, 1, 10, 50, T])
def test_forward_marginal_is_a_row_of_the_product_of_one_step_matrices(K, t):
    y0 = torch.arange(K)
    probs = CategoricalDiffusion(K, SCHEDULE).q_probs(grid(y0), times(t))
    assert probs.dtype == torch.float64
    torch.testing.assert_close(rows(probs), brute.transition(SCHEDULE, K, t), rtol=0, atol=1e-13)


@classes
@jumps
def test_jumps_compose_to_the_forward_marginal(K, t, s):
    categorical, y0 = CategoricalDiffusion(K, SCHEDULE), grid(torch.arange(K))
    to_s, to_t = (rows(categorical.q_probs(y0, times(r))) for r in (s, t))
    torch.testing.assert_close(to_s @ brute.transition(SCHEDULE, K, t, s), to_t, rtol=0, atol=1e-13)


@classes
@jumps
def test_posterior_of_a_known_label_is_bayes_rule_at_any_stride(K, t, s):
    _, y0, y_t = draw(K, seed=0)
    onehot = torch.nn.functional.one_hot(y0, K).double()
    q = CategoricalDiffusion(K, SCHEDULE).q_posterior(picture(onehot), grid(y_t), times(t), times(s))
    torch.testing.assert_close(rows(q), brute.posterior(SCHEDULE, K, y0, y_t, t, s), rtol=0, atol=1e-12)


@classes
@jumps
def test_plug_in_step_is_the_mixture_of_posteriors_over_every_clean_label(K, t, s):
    log_p0, _, y_t = draw(K, seed=1, n=16)
    p0 = log_p0.exp()
    p = CategoricalDiffusion(K, SCHEDULE).q_posterior(picture(p0), grid(y_t), times(t), times(s))
    torch.testing.assert_close(rows(p), brute.plug_in(SCHEDULE, K, p0, y_t, t, s), rtol=0, atol=1e-12)


@classes
def test_plug_in_step_to_time_zero_is_prior_times_likelihood(K):
    log_p0, _, y_t = draw(K, seed=2)
    categorical = CategoricalDiffusion(K, SCHEDULE)
    p = rows(categorical.q_posterior(picture(log_p0.exp()), grid(y_t), times(30), times(0)))
    expected = log_p0.exp() * brute.transition(SCHEDULE, K, 30)[:, y_t].T
    torch.testing.assert_close(p, expected / expected.sum(1, keepdim=True), rtol=0, atol=1e-13)


@classes
@jumps
def test_kl_is_the_enumerated_kl(K, t, s):
    log_p0, y0, y_t = draw(K, seed=3, n=24)
    q = brute.posterior(SCHEDULE, K, y0, y_t, t, s)
    p = brute.plug_in(SCHEDULE, K, log_p0.exp(), y_t, t, s)
    kl = CategoricalDiffusion(K, SCHEDULE).kl(picture(log_p0), grid(y0), grid(y_t), times(t), times(s))
    torch.testing.assert_close(kl[0, 0], brute.kl(q, p), rtol=1e-9, atol=1e-11)


@classes
@pytest.mark.parametrize("t", [1, 30, T])
def test_kl_at_time_zero_is_the_negative_log_likelihood(K, t):
    log_p0, y0, y_t = draw(K, seed=4)
    categorical = CategoricalDiffusion(K, SCHEDULE)
    kl = categorical.kl(picture(log_p0), grid(y0), grid(y_t), times(t), times(0))
    p = rows(categorical.q_posterior(picture(log_p0.exp()), grid(y_t), times(t), times(0)))
    torch.testing.assert_close(kl[0, 0], -p.gather(1, y0[:, None])[:, 0].log(), rtol=1e-10, atol=1e-12)


@classes
@pytest.mark.parametrize("t, s", [j for j in JUMPS if j != (T, T - 1)])  # any KL there is below 1e-11
def test_kl_is_zero_at_the_truth_and_positive_elsewhere(K, t, s):
    log_p0, y0, y_t = draw(K, seed=5)
    categorical = CategoricalDiffusion(K, SCHEDULE)
    certain = (300 * torch.nn.functional.one_hot(y0, K).double()).log_softmax(1)
    at_truth = categorical.kl(picture(certain), grid(y0), grid(y_t), times(t), times(s))
    elsewhere = categorical.kl(picture(log_p0), grid(y0), grid(y_t), times(t), times(s))
    assert at_truth.abs().max() < 1e-11
    assert elsewhere.min() > 0 and (elsewhere > at_truth + 1e-11).all()


@pytest.mark.parametrize("K", [3, 20])
@pytest.mark.parametrize("t, s", [(1, 0), (60, 59), (60, 50), (T, T - 1), (60, 0)])
def test_gradient_of_kl_is_the_gradient_of_the_enumerated_kl(K, t, s):
    log_p0, y0, y_t = draw(K, seed=6, n=12)
    logits = log_p0.clone().requires_grad_()
    kl = CategoricalDiffusion(K, SCHEDULE).kl(picture(logits.log_softmax(1)), grid(y0), grid(y_t), times(t), times(s))
    (got,) = torch.autograd.grad(kl.sum(), logits)
    p = brute.plug_in(SCHEDULE, K, logits.softmax(1), y_t, t, s)
    q = brute.posterior(SCHEDULE, K, y0, y_t, t, s)
    (expected,) = torch.autograd.grad(-(q * p.log()).sum(), logits)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-11)


@classes
@pytest.mark.parametrize("t", [1, 2, 10, 100, 500, 900, 999, 1000])
def test_single_precision_kl_of_one_step_times_T_agrees_with_double(K, t):
    schedule = NoiseSchedule.cosine(1000)
    categorical, (log_p0, y0, y_t) = CategoricalDiffusion(K, schedule), draw(K, seed=7, n=2000)
    values, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        logits = log_p0.to(dtype).requires_grad_()
        bound = 1000 * categorical.kl(picture(logits.log_softmax(1)), grid(y0), grid(y_t), times(t), times(t - 1))[0, 0]
        values.append(bound.detach().double())
        gradients.append(torch.autograd.grad(bound.sum(), logits)[0].double())
    # every term of the KL is as small as the chance to leave y_t, so that T does not blow rounding up
    torch.testing.assert_close(values[0], values[1], rtol=2e-6, atol=2e-4)
    assert abs((values[0] - values[1]).mean()) < 2e-5 + 1e-6 * values[1].mean()
    assert (gradients[0] - gradients[1]).abs().max() < 1e-6 * gradients[1].abs().max() + 1e-6


@classes
@pytest.mark.parametrize("t", [1, 30, T])
def test_the_likelihood_by_two_gathers_is_the_kl_at_time_zero_and_so_is_its_gradient(K, t):
    categorical, (log_p0, y0, y_t) = CategoricalDiffusion(K, SCHEDULE), draw(K, seed=12)
    logits, values, gradients = (log_p0 + 3).requires_grad_(), [], []  # scores need not be normalized
    for bound in (categorical.nll, lambda *given: categorical.kl(*given, times(0))):
        values.append(bound(picture(logits), grid(y0), grid(y_t), times(t)))
        gradients.append(torch.autograd.grad(values[-1].sum(), logits)[0])
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="s < t"):
        categorical.nll(picture(log_p0), grid(y0), grid(y_t), times(0))


@pytest.mark.parametrize("bound", ["step", "jump"])
@pytest.mark.parametrize("t", [1, 2, 500, 1000])
def test_loss_and_gradient_are_finite_where_probabilities_underflow(bound, t):
    categorical = CategoricalDiffusion(20, NoiseSchedule.cosine(1000), bound)
    y0, y_t = torch.randint(20, (2, 1, 8, 8), generator=torch.Generator().manual_seed(13))
    for sign in (1, -1):  # sure of the truth, and sure of all else
        logits = (sign * 400 * torch.nn.functional.one_hot(y0, 20).movedim(-1, 1).float()).requires_grad_()
        loss = categorical.loss(logits, y0, y_t, times(t))
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert bool(loss.isfinite().all()) and bool(gradient.isfinite().all())
        assert loss.item() > -1e-4  # what rounding leaves


@pytest.mark.parametrize("K", [2, 4, 20])
@pytest.mark.parametrize("t", [5, 50, T])
def test_sampled_labels_have_the_frequencies_of_the_forward_marginal(K, t):
    categorical, n = CategoricalDiffusion(K, SCHEDULE), 20000
    y0 = torch.full((1, 1, n), K - 1)
    y_t = categorical.q_sample(y0, times(t), torch.Generator().manual_seed(8))
    counts = torch.bincount(y_t.flatten(), minlength=K)
    expected = categorical.q_probs(y0, times(t))[0, :, 0, 0] * n
    assert len(counts) == K and chisquare(counts, expected).pvalue > 1e-3


def test_a_chain_of_sampled_reverse_jumps_keeps_the_forward_marginal():
    K, n, g = 4, 20000, torch.Generator().manual_seed(9)
    categorical, y0 = CategoricalDiffusion(K, SCHEDULE), torch.full((1, 1, n), 2)
    onehot = torch.nn.functional.one_hot(y0, K).movedim(-1, 1).double()
    y = categorical.q_sample(y0, times(T), g)
    for t, s in ((T, 70), (70, 69), (69, 30)):
        probs = rows(categorical.q_posterior(onehot, y, times(t), times(s)))
        y = grid(torch.multinomial(probs, 1, generator=g)[:, 0])
    counts = torch.bincount(y.flatten(), minlength=K)
    assert chisquare(counts, categorical.q_probs(y0, times(30))[0, :, 0, 0] * n).pvalue > 1e-3


def test_a_seed_reproduces_the_noised_labels_and_another_seed_changes_them():
    categorical, y0 = CategoricalDiffusion(20, SCHEDULE), torch.zeros(2, 16, 16, dtype=torch.int64)
    one, again, other = (
        categorical.q_sample(y0, times(70, 70), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_noising_without_a_generator_follows_the_global_seed():
    categorical, y0 = CategoricalDiffusion(20, SCHEDULE), torch.zeros(2, 16, 16, dtype=torch.int64)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(categorical.q_sample(y0, times(70, 70)))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("bound", ["step", "jump"])
def test_loss_is_the_pixel_mean_of_the_bound_and_zero_for_clean_layouts(bound):
    categorical, g = CategoricalDiffusion(4, SCHEDULE, bound), torch.Generator().manual_seed(10)
    logits = torch.randn(3, 4, 5, 6, generator=g)
    y0, t = torch.randint(4, (3, 5, 6), generator=g), times(0, 1, 60)
    y_t = categorical.q_sample(y0, t, g)
    s = times(0, 59) if bound == "step" else times(0, 0)
    kl = categorical.kl(logits[1:].double().log_softmax(1), y0[1:], y_t[1:], t[1:], s).mean((1, 2))
    expected = torch.cat([torch.zeros(1), kl.float() * (T if bound == "step" else 1)])
    torch.testing.assert_close(categorical.loss(logits, y0, y_t, t), expected, rtol=1e-4, atol=1e-3)
    weighted = CategoricalDiffusion(4, SCHEDULE, bound, p2=True).loss(logits, y0, y_t, t)
    ab = SCHEDULE.alpha_bar[t[1:]]
    weight = (1 + ab / (1 - ab)).float() ** -0.5
    torch.testing.assert_close(weighted[1:], expected[1:] * weight, rtol=1e-4, atol=1e-3)


def test_loss_and_its_gradient_are_finite_for_extreme_logits_at_every_time():
    categorical, t = CategoricalDiffusion(3, SCHEDULE), torch.arange(T + 1)
    y0 = torch.zeros(T + 1, 1, 2, dtype=torch.int64)
    y_t = torch.tensor([[[0, 1]]]).expand(T + 1, 1, 2)
    logits = torch.tensor([-80.0, 80.0, 0.0]).view(1, 3, 1, 1).repeat(T + 1, 1, 1, 2).requires_grad_()
    loss = categorical.loss(logits, y0, y_t, t)
    loss.sum().backward()
    assert loss.isfinite().all() and logits.grad.isfinite().all() and loss[0] == 0


@PROPERTY
@given(
    B=st.integers(1, 4),
    H=st.integers(1, 5),
    W=st.integers(1, 5),
    K=st.sampled_from([2, 3, 20, 171]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    shared=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_verb_gives_probabilities_and_labels_of_the_right_shape(B, H, W, K, dtype, shared, seed):
    categorical, g = CategoricalDiffusion(K, SCHEDULE), torch.Generator().manual_seed(seed)
    y0 = torch.randint(K, (B, H, W), generator=g)
    t = torch.randint(1, T + 1, (1 if shared else B,), generator=g)  # one time may serve the whole batch
    s = (t * torch.rand(len(t), generator=g)).long()
    y_t = categorical.q_sample(y0, t, g)
    assert y_t.shape == (B, H, W) and y_t.dtype == torch.int64 and 0 <= y_t.min() and y_t.max() < K
    p0 = torch.randn(B, K, H, W, generator=g, dtype=dtype).softmax(1)
    tables = {
        "marginal": categorical.q_probs(y0, t),
        "step": categorical.q_posterior(p0, y_t, t, s),
        "loo": categorical.leave_one_out(p0, y_t, t),
    }
    for name, probs in tables.items():
        assert probs.shape == (B, K, H, W) and probs.dtype == (torch.float64 if name == "marginal" else dtype)
        assert (probs >= 0).all()
        torch.testing.assert_close(probs.sum(1), torch.ones(B, H, W, dtype=probs.dtype))
    assert categorical.kl(p0.log(), y0, y_t, t, s).shape == (B, H, W)
    assert categorical.loss(p0.log(), y0, y_t, t).shape == (B,)
