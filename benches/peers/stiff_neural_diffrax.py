"""The stiff neural ODE of `cargo bench --bench stiff -- --table gradient` in diffrax: 4 states, 76 parameters, 1e-6, value and gradient.

    pip install jax diffrax
    taskset -c 0 python benches/peers/stiff_neural_diffrax.py

y_i' = 10^i (b_i + sum_j V_ji tanh(a_j + sum_k W_kj y_k) - y_i + 0.1 sin((1 + i) t)), saves 0.3, 0.6, .., 3, L = sum_m cos(0.9 m) y_m^2. Best time of 3 s of calls.
"""
import time

import diffrax
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
scale = 10.0 ** jnp.arange(4)
times = 0.3 * jnp.arange(1, 11)


def field(t, y, p):
    w, a, v, b = p[:32].reshape(4, 8), p[32:40], p[40:72].reshape(8, 4), p[72:]
    return scale * (b + jnp.tanh(a + y @ w) @ v - y + 0.1 * jnp.sin((1 + jnp.arange(4)) * t))


def loss(y0, p):
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6)
    saved = diffrax.diffeqsolve(diffrax.ODETerm(field), diffrax.Kvaerno5(), 0.0, 3.0, None, y0, p,
                                saveat=diffrax.SaveAt(ts=times), stepsize_controller=controller, max_steps=512).ys
    return jnp.sum(jnp.cos(0.9 * jnp.arange(40)) * saved.reshape(-1) ** 2)


y0, p = jnp.array([1.0, -0.5, 0.3, 0.8]), 0.4 * jnp.sin(1.3 * jnp.arange(76) + 0.5)
both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
value, _ = jax.block_until_ready(both(y0, p))
least, end = float("inf"), time.time() + 3
while time.time() < end:
    begun = time.perf_counter()
    jax.block_until_ready(both(y0, p))
    least = min(least, time.perf_counter() - begun)
print(f"diffrax {diffrax.__version__}, Kvaerno5: {1e3 * least:.2f} ms, L = {value:.9f} (right -0.183685550)")
