"""Deploys the Executor and the Invoker: turns a deployment package in S3 into a release.

    event ─> events ─> Request ─> package ─> plan ─> deploy ─> release ─> answer
            (any trigger)        (S3 facts) (pure)  (through lambda_api, the one gateway)

`function` is the Lambda handler and the only room that knows all the others.
"""
