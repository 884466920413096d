"""Two other ways to run a graph, as small as they can be: what Wukong is measured against.

- `common`: what both share: worker processes, a queue, and the client's side of a run
- `wukong_style`: the published Wukong: paths, counters, become one child
- `numpywren_style`: numpywren: a central queue, every value through the store
"""
