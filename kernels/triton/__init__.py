"""Triton kernels: encode and decode (`dense`, `nested`, `unrolled` with its `codegen`) and the batched `gemm`.

Importing a module here imports Triton; `kernels` itself does so only when a kernel is about to run.
"""
