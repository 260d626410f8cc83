/* A Modbus TCP server by libmodbus, for tests: registers from standard input, port on standard
 * output. Each input line is "function address word" (3 holding, 4 input; numbers in decimal);
 * a line "go" ends them. It serves one client at a time until it is killed. */

#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

int main(void)
{
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, 65536, 65536);
    modbus_t *server = modbus_new_tcp("127.0.0.1", 0);
    char line[64];
    unsigned function, address, word;
    struct sockaddr_in bound;
    socklen_t length = sizeof bound;
    int listener;

    if (mapping == NULL || server == NULL) {
        return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "go", 2) != 0) {
        if (sscanf(line, "%u %u %u", &function, &address, &word) != 3 || address > 65535) {
            return 2;
        }
        (function == 4 ? mapping->tab_input_registers : mapping->tab_registers)[address] =
            (uint16_t) word;
    }
    /* libmodbus cannot bind to "any free port" by itself, so the socket is made here. */
    listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&bound, 0, sizeof bound);
    bound.sin_family = AF_INET;
    bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *) &bound, sizeof bound) != 0
        || listen(listener, 4) != 0
        || getsockname(listener, (struct sockaddr *) &bound, &length) != 0) {
        return 3;
    }
    printf("%d\n", ntohs(bound.sin_port));
    fflush(stdout);
    for (;;) {
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        int received;

        if (modbus_tcp_accept(server, &listener) < 0) {
            return 4;
        }
        while ((received = modbus_receive(server, query)) >= 0) {
            if (received > 0) {
                modbus_reply(server, query, received, mapping);
            }
        }
        modbus_close(server);
    }
}
