"""Compiles for a GPU that need not be there: JAX's CUDA plugin takes a description of the chip."""

import importlib.metadata
from importlib.util import find_spec

from kmodels.backend import XLA_DETERMINISTIC
from kmodels.errors import InputError

PLUGINS = ("xla_cuda12", "xla_cuda13")
NAME = "NVIDIA H100 80GB HBM3"
# The published figures of the chip, under the names of XLA's GpuTargetConfigProto.
_DESCRIPTION = f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 cuda_compute_capability {{ major: 9 }}
}}
platform_name: "CUDA" device_description_str: "{NAME}"
dnn_version_info {{ major: 9 minor: 12 }} runtime_version {{ major: 12 minor: 9 }}
"""
# Computing stays on the CPU. Matrix products are left to cuBLAS, because XLA chooses among its own kernels by running
# them. What was compiled for no device cannot be cached.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false",
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}
DETERMINISTIC_ENVIRONMENT = {**ENVIRONMENT, "XLA_FLAGS": f"{ENVIRONMENT['XLA_FLAGS']} {XLA_DETERMINISTIC}"}
# What `kernels.count` compiles.
PROGRAMS = ("ours-epoch", "jax-epoch", "stock-fit")


def has_plugin():
    """Whether JAX's CUDA plugin is installed."""
    return bool(find_spec("jax_plugins")) and any(find_spec(f"jax_plugins.{name}") for name in PLUGINS)


def require_plugin():
    """Checks that programs can be compiled here.

    Raises:
        InputError: without JAX's CUDA plugin.
    """
    if not has_plugin():
        raise InputError(
            "compiling for a GPU needs JAX's CUDA plugin, which is not installed here: pip install "
            f"jax-cuda12-plugin=={importlib.metadata.version('jax')} nvidia-cuda-nvcc-cu12"
        )


def sharding():
    """The sharding of arguments with which a program is compiled for one such GPU; in a process with ENVIRONMENT.

    Raises:
        RuntimeError: if this version of JAX needs more than its plugin for it.
    """
    import jax
    from jax.experimental import topologies

    # Makes JAX look for its plugins.
    jax.devices()
    try:
        chip = topologies.get_topology_desc(platform="cuda", target_config=_DESCRIPTION, topology="1x1x1")
    except NotImplementedError:
        raise RuntimeError(f"JAX {jax.__version__} compiles for no GPU without CUDA's libraries") from None
    return jax.sharding.NamedSharding(topologies.make_mesh(chip, (1,), ("gpu",)), jax.sharding.PartitionSpec())
