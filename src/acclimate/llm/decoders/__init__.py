"""What backends on this machine share: tokens, chat templates, answers token by token, and models that decode."""
