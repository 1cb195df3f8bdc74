"""Engines that start workers: on this machine, under Slurm, under Ray; one file each."""
