"""The bootstrap function: deploys the Executor and the Invoker from a deployment package.

It imports nothing of the other packages, so that `bootstrap.zip` can be installed on its own.
"""
