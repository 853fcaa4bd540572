"""Whether an evaluation keeps the limits that were set for it, and the evidence of that. docs/gate.md"""

from primum.gate.evidence import gate, verify, write_evidence
from primum.gate.folder import Evaluation
from primum.gate.rules import GateConfig, Rule, load_rules
from primum.gate.verdict import Finding, decide, prompts_needed

__all__ = [
    "Evaluation", "Finding", "GateConfig", "Rule", "decide", "gate", "load_rules", "prompts_needed", "verify", "write_evidence",
]  # fmt: skip
