#include "trace/trace-hw_nvme_csd.h"
