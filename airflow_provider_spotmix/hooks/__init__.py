"""The connection ``spotmix``: which cluster, and a team's defaults."""
