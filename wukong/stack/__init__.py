"""Stacks: what a computation needs around it, on this machine or in an AWS account.

valkey          the embedded Valkey server
embedded        the embedded AWS: MiniStack and the embedded Valkey, up and down
cloudformation  a real or embedded AWS stack: create or update, outputs, delete
stores          where a stack's runs are kept, and how a client finds that
releases        packages into the bucket, and what the bootstrap says of them
"""
