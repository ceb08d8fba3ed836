"""The market-asset collector: traditional-market features for crypto models, correct as they could be known then."""
