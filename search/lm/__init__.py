"""Continuous discovery: batched Levenberg–Marquardt over free and symmetry-tied factors (needs torch)."""

from .engine import LMResult, minimise
from .parametrisation import CyclicZ3, Free, OrbitType, Parametrisation
from .schedules import SCHEDULES, Schedule

__all__ = ["SCHEDULES", "CyclicZ3", "Free", "LMResult", "OrbitType", "Parametrisation", "Schedule", "minimise"]
