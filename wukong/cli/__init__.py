"""The `wukong` command, one file a verb; nothing heavy is imported before a verb runs."""
