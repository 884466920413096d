"""The Invoker: starts very many Executors, very fast."""
