"""What stands before the numbers of docs/findings.md: what they can say of a large model, and what they cannot."""

INTRODUCTION = """\
# Findings

Generated from the files in [results](results) by `primum.study.findings`; a test keeps the two alike. How an experiment is run:
[experiments.md](experiments.md). What each number means: [metrics.md](metrics.md).

## What these numbers can say of a model of seven billion parameters, and what they cannot

Unless an experiment's line names another model, everything below was measured in the [micro-world](microworld.md): a
transformer of some hundred thousand to a few million parameters, trained from nothing on a few hundred words of two small
languages, asked for fictional acts, and judged by a program that knows exactly what each answer does. A 7B model is thousands
of times larger and has read a good part of what people wrote. Mechanisms and orderings may carry over; sizes do not.

**What it can tell**

- *That a mechanism exists, and what is enough for it.* No token, loss or sample is there for the sake of a phenomenon. What
  happens here comes out of data and optimisation, so it needs neither scale nor anything that only large models have.
- *That a general statement is false.* "Always" falls to one fair counterexample. The reverse does not hold: what happened here
  need not happen always.
- *Which of two arms does better, here, at equal cost.* The arms of a seed share base, data and prompts, budgets come from one
  ledger, and intervals are over seeds, so that the luck of training is in them. At 7B hardly anyone can pay for that.
- *Whether an instrument reads right.* A detector, a forecast or an interval can be checked only where the truth is known. Here
  it is. One that fails here gives no ground to trust it elsewhere; one that works here may still fail there.
- *How much must be paid to know.* How far seeds lie apart, and which differences so many of them could have shown.

**What it cannot tell**

- *How large an effect is at 7B.* Neither points of harm nor ratios of steps or compute carry over. Shares rest on frequencies
  that we chose (how often the base corpus holds a euphemism, a refusal, another language), ratios of cost on answers of twenty
  tokens rather than thousands.
- *Whether an ordering survives.* That of SFT and RL is disputed. Parmar & Govindarajulu (2025, arXiv:2501.17030), whose
  questions these are, hold that SFT generalises better; Chu et al. (2025, arXiv:2501.17161) find the opposite in an 11B model
  on tasks with a verifier. A tiny model also has little room: what looks like a price of safety may be a want of parameters.
- *What prior knowledge does.* The base here has read the moral facts of every category, the held-out ones too, and few
  refusals: what can generalise is the step from a known fact to a refusal, not the fact. A 7B model brings refusals, rules,
  jailbreaks and opinions from its reading, which may help or mislead it in ways that nothing here shows. Nor is there any
  strategy or deceit here.
- *How it does on what is really new.* "Unseen" is another verb, attribute, combination or context of a grammar that we wrote,
  and harm is a fact about a state. What a user brings is newer than that, and what harms is disputed.
- *Real judges, languages, cultures, attackers.* The oracle is exact, or wrong like a coin; a real judge is wrong where it
  matters, and about the texts that training finds. There are two languages in two scripts, locales are conventions that we
  planted, attacks are forms of the grammar.
- *That something does not happen.* A hack that the base never samples is never found. A large model samples more, so a hack
  that is absent here is no evidence that it will be absent there.

**How to read a verdict.** *Held*: the whole 95 % interval lies on the predicted side of the limit; for a large model that is a
hypothesis with a direction, worth its price. **Failed**, in bold: it lies on the other side, so the mechanism as predicted is
not enough even here. *Undecided*: the limit lies within the interval, or an arm never got there, so that its number is known
on one side alone; beside it stands the distance that so many seeds and prompts show four times in five. That is not "no
difference". Each interval stands alone: of twenty, about one misses, and nothing is corrected for how many claims there are.
Seeds are draws of data, prompts and training in one world, and of one base model unless `own_base` trained another for each;
no interval knows of other worlds. Predictions stand in each experiment's file, in `src/primum/experiments/`, written before
the runs that are reported."""
