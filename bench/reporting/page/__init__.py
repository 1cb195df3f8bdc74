"""The report as one interactive page; `assets/` is the suite's own, `vendor/` others' libraries."""
