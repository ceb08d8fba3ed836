"""The whole deployment on a real cluster, from the image to the faults: `make test-cluster`.

Belongs here: what needs root and a cluster of one's own. Does not belong here: what can be tested without
(`market_assets_tests/deployment`, `market_assets_tests/integration/test_launcher.py`).
"""
