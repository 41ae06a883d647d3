"""The mathematics and the models: specifications, matching, packages, reuse. No network, no database, no clock."""
