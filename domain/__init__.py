"""What Onefold decides, without a driver, a clock, the environment or asyncio."""
