"""Distillation: a student learns from a teacher's rollouts, or from what the teacher thinks of the student's own."""

from primum.distill.config import OnPolicyConfig
from primum.distill.off_policy import DistillConfig, distill, make_student
from primum.distill.on_policy import distill_on_policy

__all__ = ["DistillConfig", "OnPolicyConfig", "distill", "distill_on_policy", "make_student"]
