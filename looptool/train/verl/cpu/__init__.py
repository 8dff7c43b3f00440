"""Test equipment: veRL and vLLM on a machine without a GPU. Loaded by the overlay `laptop_cpu` alone.

veRL knows NVIDIA, AMD and Ascend. `platform` registers a fourth one through veRL's plug-in hook
(`VERL_USE_EXTERNAL_MODULES`), `worker` is an extension of vLLM's worker. Nothing of either library
is edited, and no number is computed in another way than on a GPU; only devices, streams and the
collective backend differ.
"""
