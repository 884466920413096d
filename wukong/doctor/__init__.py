"""Whether everything works that a run needs, found out by trying it; each finding has its remedy.

    finding   what was found, and what to do about it
    account   the calls to AWS that only look
    aws       a stack in an account, real or embedded
    here      worker processes of this machine
    trial     a tiny run, for both

A check is a generator: it yields findings and returns what later checks go on with, or None if
there is nothing to go on with.
"""
