"""The verbs' options and help, by the group in which help shows them.

deploying   package, plan, deploy, status, history, rollback, delete
computing   run, runs, cancel
looking     report, logs, doctor
machine     config, local, demo
"""
