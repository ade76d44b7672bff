"""Programs whose functions the system tests call. Shipped whole into containers, so nothing here may import pytest."""
