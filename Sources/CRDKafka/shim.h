#pragma once
#pragma clang module import SwiftGlibc

#include <librdkafka/rdkafka.h>
