"""irstd_jax: infrared small target detection by diffusion, in JAX and Flax."""
