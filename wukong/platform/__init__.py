"""Platforms: where functions run.

- `interface`: what the engine asks of a platform
- `aws`: Lambda, or anything that speaks its API
- `batches`: many Executor events as one payload
- `costs`, `ramp`: who starts Executors, and how fast Lambda lets them run
- `local`: worker processes on this machine, which take events from a queue in Valkey
- `threads`: threads of this process, for small things and tests
- `context`: what an invocation is given: its time, its settings
- `surroundings`: what a function reaches from where it runs: its store, its platform
"""
