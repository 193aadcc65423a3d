"""The contestant of ensembles.py that needs other packages: JAX and optax. Knows nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from contest import Sizes, serve, windows
from search_peers import jax_network, jax_windows, on_cpu

Contestant = tuple[Callable[[], int], dict[str, Any]]


def jax_members(sizes: Sizes, cores: int, count: int) -> Contestant:
    """An epoch and a validation of so many members: jax.vmap of the gradient over members, optax.adam, lax.scan."""
    jax = on_cpu(cores)
    import jax.numpy as jnp
    import optax

    batches = sizes.training_windows // sizes.windows  # whole ones
    network = jax_network(sizes, jax)
    data = tuple(map(jnp.asarray, jax_windows(sizes, *windows(sizes, sizes.training_windows))))
    validation = tuple(array[: sizes.validation_windows] for array in data)
    gradients = jax.vmap(jax.value_and_grad(network))
    optimizer = optax.adam(1e-3)

    def update(carry, index):
        weights, state = carry
        losses, slopes = gradients(weights, *(array[index] for array in data))
        changes, state = optimizer.update(slopes, state)
        return (optax.apply_updates(weights, changes), state), losses

    @jax.jit
    def epoch(weights, state, key):
        keys = jax.random.split(key, count)
        orders = jax.vmap(lambda own: jax.random.permutation(own, sizes.training_windows))(keys)
        index = orders[:, : batches * sizes.windows].reshape(count, batches, sizes.windows).swapaxes(0, 1)
        (weights, state), _ = jax.lax.scan(update, (weights, state), index)
        return weights, state, jax.vmap(network, (0, None, None, None))(weights, *validation)

    weights = jnp.asarray(0.1 * np.random.default_rng(0).standard_normal((count, sizes.weights)).astype(np.float32))
    state, key = optimizer.init(weights), jax.random.key(0)

    def sample() -> int:
        nonlocal weights, state, key
        key, own = jax.random.split(key)
        weights, state, losses = epoch(weights, state, own)
        losses.block_until_ready()
        return count

    return sample, {"jax": jax.__version__}


if __name__ == "__main__":
    serve({"jax_members": jax_members})
