"""What the library asks of the machine: device, memory, random numbers, files, processes. It knows nothing of runs."""
