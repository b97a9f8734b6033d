"""AgentDojo's user tasks (mail, calendar and files, travel, banking, chat): data, environment, judge and references."""
