"""Teachers that come from elsewhere and go elsewhere: import and export."""
