"""The kind `llm-encoder`: a causal language model that reads whole histories."""
