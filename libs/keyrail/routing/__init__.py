"""Which target serves a request of a smart route. Pure: data in, a decision out; no I/O, no clock.

What others use:

- `text.features(text, key=b"") -> Features`; `Features.pack() -> str`, `text.unpack(str) -> Features`
- `posterior.Posterior(mean, mass, evidence)`, `posterior.of(prior, good, bad, mass=8) -> Posterior`,
  `posterior.probability_at_least(quality, reference, bar) -> float`, `posterior.decayed(amount, age_ms)`
- `choice.Candidate(target, quality, cost, latency_s, eligible=True)`,
  `choice.choose(candidates, reference, *, bar=.97, confidence=.95, prefer="cost") -> Choice`,
  `choice.sentence(choice) -> str`; `Choice.target`, `.reason`, `.propensity`, `.candidates` (`Scored`)
- `learning.fold(scores, verdict) -> TaskScores`, `learning.exemplar_of(verdict) -> Exemplar | None`
  (wire forms, `Verdict` among them, in `keyrail.contracts.scores`)
- `learning.Model(priors, tasks=(), exemplars=())`: `.learn(scores)`, `.remember(exemplars)`,
  `.quality(task, features, target, now_ms) -> Posterior`, `.qualities(task, features, targets, now_ms)` for all
  targets with one look at the neighbours, `.calibrate()`; `Model.uses_neighbours` says whether features are
  worth computing
- `exemplars.Neighbours`: what a model keeps of exemplars; the only module that imports numpy, and a model
  imports it when it is given its first exemplar

A target is a name, `provider/model`. Costs are Decimals in US dollars, latencies seconds, times milliseconds.
"""
