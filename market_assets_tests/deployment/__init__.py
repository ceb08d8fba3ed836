"""Tests of what the collector is deployed with: image, Helm values, manifests, scripts."""
