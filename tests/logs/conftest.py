"""The suites in this folder are run by their own runners; some of their tests must fail."""

collect_ignore_glob = ["*"]
