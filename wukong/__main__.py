"""`python -m wukong`: the command line, where the `wukong` script is not on the path."""

from wukong.cli.main import run

if __name__ == "__main__":
    run()
