"""One adapter for each RecBole model that can do more than the generic one."""
