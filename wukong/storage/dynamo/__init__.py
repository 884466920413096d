"""The DynamoDB and S3 back-end: runs without a network of one's own, and without idle cost.

    address ─> backend ─┬─> creating, lineages, arriving, following   the steps of a run
                        ├─> counting, claiming                        what they have in common
                        ├─> items                                     what is written, purely
                        └─> table, objects                            the gateways: DynamoDB, S3

DynamoDB changes one item at a time atomically, and that is all that is used of it. What Valkey does
in one script is one deciding write here, the seal, and effects that follow from it: each may be
repeated, and whoever takes a lineage over repeats them. docs/storage.md has the layout, the calls
of each step, and why every task counts once.
"""
